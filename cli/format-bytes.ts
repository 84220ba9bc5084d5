const UNITS = ['', 'K', 'M', 'G', 'T', 'P', 'E'] as const;

/** An amount of memory for people: exact in the largest unit that gives a whole number (`4K`, `2M`), else in three digits (`1.50 GiB`). */
export function formatBytes(bytes: number | bigint): string {
  // Exact for what is below 2^53, and beyond that three digits are not touched by the rounding.
  const value = Number(bytes);
  const magnitude = Math.abs(value);
  if (magnitude < 1024) return magnitude === 0 ? '0' : `${value} B`;
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(magnitude) / 10));
  const scaled = value / 1024 ** power;
  const unit = UNITS[power] ?? '';
  return Number.isInteger(scaled) ? `${scaled}${unit}` : `${significant(scaled)} ${unit}iB`;
}

/** Three significant digits, without an exponent: 1.50, 15.0, 150, 1023. */
export function significant(value: number): string {
  // Rounding first: 9.996 has to become "10.0", not "10.00".
  const rounded = Math.abs(Number(value.toPrecision(3)));
  return value.toFixed(rounded >= 100 ? 0 : rounded >= 10 ? 1 : 2);
}
