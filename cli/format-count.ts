/** A count with its thousands separated, in every locale the same: 1,234,567. */
export function formatCount(count: number | bigint): string {
  return count.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** A count of things, with the thing in the singular for one: "1 batch", "1,000 rows". */
export function formatCountOf(count: number | bigint, singular: string, plural = `${singular}s`): string {
  return `${formatCount(count)} ${count === 1 || count === 1n ? singular : plural}`;
}
