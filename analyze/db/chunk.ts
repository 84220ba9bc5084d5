/**
 * Results in columns: what DuckDB returns per vector, copied into typed arrays that the caller owns.
 */
import type { DataChunk, Result } from '@duckdb/node-bindings';
import type { JS } from '@duckdb/node-api';
import { CvmtraceError } from '../../native/index.ts';
import type { FixedArray } from '../../capture/trace/columns.ts';
import { duckdb, duckdbApi } from './duckdb.ts';

/** A value of a result. 64-bit and wider integers are bigint, decimals and floats number; times are Date; nested values arrays and objects. */
export type Value = JS;

export interface ResultColumn {
  readonly name: string;
  /** DuckDB's name of the type: "UBIGINT", "VARCHAR", "ENUM" ... */
  readonly type: string;
  /** For an ENUM the text of each code. */
  readonly dictionary?: readonly string[];
}

/** Values of a column in a chunk: a typed array for fixed-width types (codes for an ENUM), else one JavaScript value per row. */
export type ColumnValues = FixedArray | readonly Value[];

export interface ColumnChunk {
  readonly values: ColumnValues;
  /** Bit i of byte i/8 set: row i is not null. Null: no row is null. Lists of values hold null itself. */
  readonly validity: Uint8Array | null;
}

export interface Chunk {
  readonly rows: number;
  readonly columns: readonly ColumnChunk[];
}

type FixedArrayMaker = new (buffer: ArrayBuffer, offset: number, length: number) => FixedArray;

const FIXED: Readonly<Partial<Record<string, { readonly make: FixedArrayMaker; readonly bytes: number }>>> = {
  BOOLEAN: { make: Uint8Array, bytes: 1 },
  TINYINT: { make: Int8Array, bytes: 1 },
  UTINYINT: { make: Uint8Array, bytes: 1 },
  SMALLINT: { make: Int16Array, bytes: 2 },
  USMALLINT: { make: Uint16Array, bytes: 2 },
  INTEGER: { make: Int32Array, bytes: 4 },
  UINTEGER: { make: Uint32Array, bytes: 4 },
  BIGINT: { make: BigInt64Array, bytes: 8 },
  UBIGINT: { make: BigUint64Array, bytes: 8 },
  FLOAT: { make: Float32Array, bytes: 4 },
  DOUBLE: { make: Float64Array, bytes: 8 },
};

/** Names and types of a result's columns. */
export function resultColumns(result: Result): ResultColumn[] {
  const columns: ResultColumn[] = [];
  for (let i = 0; i < duckdb().column_count(result); i++) {
    const name = duckdb().column_name(result, i);
    const id = duckdb().column_type(result, i);
    if (id !== duckdb().Type.ENUM) {
      columns.push({ name, type: duckdb().Type[id] });
      continue;
    }
    const type = duckdb().column_logical_type(result, i);
    const dictionary = Array.from({ length: duckdb().enum_dictionary_size(type) }, (_, code) =>
      duckdb().enum_dictionary_value(type, code),
    );
    columns.push({ name, type: 'ENUM', dictionary });
  }
  return columns;
}

/** Copies a chunk's columns out of DuckDB's memory. */
export function readChunk(chunk: DataChunk, columns: readonly ResultColumn[]): Chunk {
  const rows = duckdb().data_chunk_get_size(chunk);
  const values = new (duckdbApi().DuckDBDataChunk)(chunk);
  return {
    rows,
    columns: columns.map((column, i) => {
      const fixed = fixedType(column);
      if (fixed === undefined)
        return { values: values.convertColumnValues(i, duckdbApi().JSDuckDBValueConverter), validity: null };
      const vector = duckdb().data_chunk_get_vector(chunk, i);
      const bytes = duckdb()
        .vector_get_data(vector, rows * fixed.bytes)
        .slice();
      const validity = duckdb().vector_get_validity(vector, Math.ceil(rows / 64) * 8) as Uint8Array | null;
      return {
        values: new fixed.make(bytes.buffer, 0, rows),
        validity: validity === null ? null : validity.slice(0, Math.ceil(rows / 8)),
      };
    }),
  };
}

function fixedType(column: ResultColumn): { readonly make: FixedArrayMaker; readonly bytes: number } | undefined {
  if (column.dictionary === undefined) return FIXED[column.type];
  const { length } = column.dictionary;
  return FIXED[length <= 0x100 ? 'UTINYINT' : length <= 0x10000 ? 'USMALLINT' : 'UINTEGER'];
}

/** A value of a column that holds text and no null. */
export function textOf(value: Value | undefined): string {
  if (typeof value !== 'string') throw new Error(`a ${typeof value} where SQL must give text`);
  return value;
}

/**
 * A chunk as rows of values.
 * @throws CvmtraceError USAGE for a value that JavaScript has no type for: a date before its first, or infinity
 */
export function chunkRows(chunk: DataChunk): Value[][] {
  try {
    return new (duckdbApi().DuckDBDataChunk)(chunk).convertRows(duckdbApi().JSDuckDBValueConverter);
  } catch (cause) {
    throw new CvmtraceError('USAGE', cause instanceof Error ? cause.message : String(cause), {
      hint: 'cast it to varchar',
      cause,
    });
  }
}
