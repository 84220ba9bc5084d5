import { CvmtraceError } from '../native/index.ts';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P', 'E'] as const;

/**
 * Bytes of a size as people write it: `4096`, `4K`, `2M`, `1.5G`, `64KiB`. Units are powers of 1024.
 * @param name of what is parsed, for the message: "--memory"
 * @throws CvmtraceError USAGE if it is no size, or no whole number of bytes below 2^53.
 */
export function parseSize(text: string, name = 'size'): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGTPE])(?:iB|B)?|B)?$/i.exec(text.trim());
  const unit = match?.[2]?.toUpperCase() ?? '';
  const bytes = match ? Number(match[1]) * 1024 ** UNITS.findIndex((candidate) => candidate === unit) : NaN;
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new CvmtraceError('USAGE', `${name}: "${text}" is not a size`, {
    hint: 'write bytes, or K, M, G, T for powers of 1024: 4096, 4K, 2M, 1.5G',
  });
}

/** A size: exact in the largest unit that gives a whole number below 1024 (`4K`, `2M`), else in three digits (`1.50 GiB`). */
export function formatSize(bytes: number | bigint): string {
  // Exact for what is below 2^53, and beyond that three digits are not touched by the rounding.
  const value = Number(bytes);
  const magnitude = Math.abs(value);
  if (magnitude < 1024) return `${value}${magnitude === 0 ? '' : ' B'}`;
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(magnitude) / 10));
  const scaled = value / 1024 ** power;
  const unit = UNITS[power] ?? '';
  return Number.isInteger(scaled) ? `${scaled}${unit}` : `${significant(scaled)} ${unit}iB`;
}

/** Three significant digits, without an exponent: 1.50, 15.0, 150, 1023. */
export function significant(value: number): string {
  const magnitude = Math.abs(value);
  // Rounding first: 9.996 has to become "10.0", not "10.00".
  const rounded = Math.abs(Number(value.toPrecision(3)));
  if (magnitude >= 1000) return value.toFixed(0);
  return value.toFixed(rounded >= 100 ? 0 : rounded >= 10 ? 1 : 2);
}
