import { OPS } from '../../native/index.ts';
import { bitmapBytes } from './bitmap.ts';
import type { ArrayOfColumn, ArrayOfType, NullableFixedName } from './schema.ts';

/** Rows in one Arrow record batch at most: what a crash can lose, and what a reader must hold of one column. */
export const BATCH_ROWS = 65_536;

/** Typed arrays by column; a column that is absent is null in every row. */
export type BatchColumns = { readonly [N in NullableFixedName]?: ArrayOfColumn<N> };

/**
 * Rows to append, column by column. An `ExecutedBatch` of the addon is one as it is. Arrays may be longer than `rows`; they are read during
 * `append` only and stay the caller's.
 */
export interface TraceBatch {
  readonly rows: number;
  /** Codes of `OPS`. */
  readonly op: Uint8Array;
  /** Absent: 0 in every row. */
  readonly errno?: Uint16Array;
  readonly columns: BatchColumns;
  /** Arrow bitmaps of the columns that have nulls. */
  readonly validity: { readonly [N in NullableFixedName]?: Uint8Array };
  /** Text by row. Rows from `rows` on are ignored, so that an `OpBatch`'s details fit a batch that was cancelled. */
  readonly detail?: ReadonlyMap<number, string>;
  /** Process of all rows, unless `columns.pid` says it per row. */
  readonly pid?: number;
  /** Thread of all rows, unless `columns.tid` says it per row. */
  readonly tid?: number;
}

/** A `TraceBatch` as the encoder sees it: any typed array for any column, once `assertBatch` and the type checker have agreed to it. */
export interface CheckedBatch extends Omit<TraceBatch, 'columns'> {
  readonly columns: { readonly [N in NullableFixedName]?: ArrayOfType[keyof ArrayOfType] };
}

/** Throws a plain Error, because it is a bug of the caller, if an array is too short or an operation has no name: the file would be damaged. */
export function assertBatch(batch: TraceBatch, paced: boolean): void {
  const { rows, op, errno, columns, validity } = batch;
  if (!Number.isSafeInteger(rows) || rows < 0) throw new Error(`a batch of ${rows} rows`);
  const assertLength = (name: string, have: number, need: number): void => {
    if (have < need) throw new Error(`column ${name} of a batch of ${rows} rows has ${have} values, not ${need}`);
  };
  assertLength('op', op.length, rows);
  if (errno) assertLength('errno', errno.length, rows);
  for (const [name, data] of Object.entries(columns)) assertLength(name, data.length, rows);
  for (const [name, bits] of Object.entries(validity))
    assertLength(`validity of ${name}`, bits.length, bitmapBytes(rows));
  if (!paced && columns.lag_ns) throw new Error('lag_ns in a batch of a trace that was not created as paced');
  for (let row = 0; row < rows; row++) {
    const code = op[row] ?? 0;
    if (code >= OPS.length) throw new Error(`operation code ${code} in row ${row} of a batch has no name`);
  }
}
