/** Numbers in explanations. */

export function hex(address: number): string {
  return `0x${address.toString(16)}`;
}

/** "4K", "2M", "6000 bytes". */
export function size(bytes: number): string {
  for (const [unit, name] of [
    [2 ** 40, 'T'],
    [2 ** 30, 'G'],
    [2 ** 20, 'M'],
    [2 ** 10, 'K'],
  ] as const) {
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${name}`;
  }
  return `${bytes} bytes`;
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? `1 ${one}` : `${count} ${many}`;
}

/** "0x1000 (4K)" */
export function range(start: number, past: number): string {
  return past === Infinity ? `all from ${hex(start)}` : `${hex(start)} (${size(past - start)})`;
}
