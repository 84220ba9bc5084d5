import { formatBytes, significant } from './format-bytes.ts';
import { formatDuration } from './format-duration.ts';

/** A benchmark's value in its unit: `43.1 ns`, `9.44 M rows/s`, `1.05 x`. */
export function formatMetric(value: number, unit: string): string {
  switch (unit) {
    case 'ns':
    case 'ns/op':
      return formatDuration(value);
    case 'bytes':
      return value < 1024 ? `${significant(value)} B` : formatBytes(value);
    case 'x':
      return `${value.toPrecision(3)} x`;
    default:
      return value >= 1e6 ? `${significant(value / 1e6)} M ${unit}` : `${significant(value)} ${unit}`;
  }
}
