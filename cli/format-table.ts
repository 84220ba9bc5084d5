import { getBorderCharacters, table, type ColumnUserConfig } from 'table';
import { printable } from './printable.ts';

export interface Column {
  /** In upper case, unless it is a name that someone may want to copy. Where no column has one, there is no line of titles. */
  readonly title?: string;
  /** Numbers stand on the right. */
  readonly align?: 'left' | 'right';
  /** Characters that a column has; longer text is wrapped at words. */
  readonly width?: number;
}

/** A table without lines, as `kubectl get` and `benchstat` write it: columns two blanks apart, no blanks at line ends. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const titled = columns.some((column) => column.title !== undefined);
  const lines = [...(titled ? [columns.map((column) => column.title ?? '')] : []), ...rows];
  if (lines.length === 0 || columns.length === 0) return '';
  const last = columns.length - 1;
  const configs = columns.map(({ align = 'left', width }, index): ColumnUserConfig => ({
    alignment: align,
    paddingLeft: 0,
    paddingRight: index === last ? 0 : 2,
    ...(width !== undefined && { width, wrapWord: true }),
  }));
  const text = table(
    lines.map((line) => line.map(printable)),
    { border: getBorderCharacters('void'), columns: configs, drawHorizontalLine: () => false },
  );
  return text.replace(/ +$/gm, '');
}
