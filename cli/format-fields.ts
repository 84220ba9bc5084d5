import { printable } from './printable.ts';

/** Lines of `  label   value` with the values in one column; those whose value is undefined are left out. */
export function formatFields(fields: readonly (readonly [label: string, value: string | undefined])[]): string {
  const shown = fields.filter((field): field is readonly [string, string] => field[1] !== undefined);
  const width = Math.max(0, ...shown.map(([label]) => label.length));
  return shown.map(([label, value]) => `  ${label.padEnd(width)}  ${printable(value)}\n`).join('');
}
