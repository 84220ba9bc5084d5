/** Sizes as people write them: 4096, 4K, 2M, 1G, 1T (powers of 1024, as the kernel's boot parameters and QEMU have them). */
const UNITS: readonly (readonly [string, number])[] = [
  ['T', 2 ** 40],
  ['G', 2 ** 30],
  ['M', 2 ** 20],
  ['K', 2 ** 10],
];

/** Bytes of a size such as `2M`; undefined if the text is none or passes 2^53. */
export function parseSize(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d+)([KMGT]?)(?:i?B)?$/i.exec(text.trim()) ?? [];
  if (digits === undefined) return undefined;
  const bytes = Number(digits) * (UNITS.find(([name]) => name === unit.toUpperCase())?.[1] ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The shortest exact text that `parseSize` reads back, e.g. 2M; 4097 stays 4097. */
export function formatSize(bytes: number): string {
  const unit = UNITS.find(([, size]) => bytes >= size && bytes % size === 0);
  return unit ? `${bytes / unit[1]}${unit[0]}` : String(bytes);
}
