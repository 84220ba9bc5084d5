import { getBorderCharacters, table, type ColumnUserConfig } from 'table';
import { printable } from './printable.ts';

export interface Column {
  /** In upper case, unless it is a name that someone may want to copy. */
  readonly title: string;
  /** Numbers stand on the right. */
  readonly align?: 'left' | 'right';
  /** Characters after which a cell is wrapped. */
  readonly width?: number;
}

/** A table without lines, as `kubectl get` and `benchstat` write it: columns two blanks apart, no blanks at line ends. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const last = columns.length - 1;
  const configs = columns.map((column, index): ColumnUserConfig => ({
    alignment: column.align ?? 'left',
    paddingLeft: 0,
    paddingRight: index === last ? 0 : 2,
    ...(column.width !== undefined && { width: column.width, wrapWord: true }),
  }));
  const cells = [columns.map((column) => printable(column.title)), ...rows.map((row) => row.map(printable))];
  const text = table(cells, {
    border: getBorderCharacters('void'),
    columns: configs,
    drawHorizontalLine: () => false,
  });
  return text.replace(/ +$/gm, '');
}
