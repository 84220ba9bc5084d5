import { isValid } from './bitmap.ts';
import type { ColumnData } from './column-data.ts';
import type { TraceFile } from './reader.ts';

export type RowValue = bigint | number | string | null;

/** A row by column name: 64-bit columns are bigint, `op` and texts are string. */
export type TraceRow = Readonly<Record<string, RowValue>>;

/**
 * The rows as objects, one batch in memory at a time. For tests and for looking at a few rows: a trace's length of objects is what the columns
 * are there to avoid.
 * @throws CvmtraceError BAD_INPUT where the file is damaged.
 */
export function* readRows(file: TraceFile, from = 0, to = file.rows): Generator<TraceRow> {
  for (let index = 0; index < file.batchCount; index++) {
    const { firstRow, rows } = file.batch(index);
    if (firstRow + rows <= from || firstRow >= to) continue;
    const columns = file.columns.flatMap(({ name, readable }) =>
      readable ? [{ name, data: file.readColumn(index, name), values: file.dictionary(name) }] : [],
    );
    for (let row = Math.max(0, from - firstRow); row < Math.min(rows, to - firstRow); row++) {
      yield Object.fromEntries(columns.map(({ name, data, values }) => [name, valueOf(data, values, row)]));
    }
  }
}

function valueOf(column: ColumnData, dictionary: readonly string[], row: number): RowValue {
  if (!isValid(column.validity, row)) return null;
  if (column.kind === 'utf8')
    return Buffer.from(column.bytes.subarray(column.offsets[row], column.offsets[row + 1])).toString();
  const value = column.data[row] ?? null;
  return dictionary.length > 0 && typeof value === 'number' ? (dictionary[value] ?? null) : value;
}
