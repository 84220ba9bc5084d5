/** A count with its thousands separated, in every locale the same: 1,234,567. */
export function formatCount(count: number | bigint): string {
  return count.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}
