/**
 * One scan of `read_trace`: reads the projected columns of an Arrow trace batch by batch into memory that it keeps, and copies a vector's worth of
 * rows at a time from there into DuckDB's vectors. Nothing becomes a JavaScript value but the text of rows that have a `detail`.
 */
import type { DataChunk, Vector } from '@duckdb/node-bindings';
import { ColumnScratch, type ColumnData } from '../../capture/trace/column-data.ts';
import type { FixedArray } from '../../capture/trace/columns.ts';
import type { TraceFile } from '../../capture/trace/reader.ts';
import type { Column } from '../../capture/trace/schema.ts';
import { duckdb } from './duckdb.ts';

/** Validity of a vector without a value, larger than any vector. */
const NO_BITS = new Uint8Array(8192).buffer;

/** Codes of the common op type by index into the file's dictionary; undefined if they are the same. */
export type OpCodes = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | undefined;

/** A projected column and its values in the current batch; null if every row of it is null. */
interface ScanColumn {
  readonly column: Column;
  readonly scratch: ColumnScratch;
  data: ColumnData | null;
}

export class TraceScan {
  readonly #file: TraceFile;
  readonly #opCodes: OpCodes;
  readonly #columns: readonly (ScanColumn | undefined)[];
  #batch = -1;
  #rows = 0;
  /** 2048: a multiple of 8, so that a vector's validity begins with a byte of its batch's. */
  readonly #vectorRows = duckdb().vector_size();
  #row = 0;

  /** `columns`: the projected ones in their order; undefined for one that DuckDB wants but does not look at. */
  constructor(file: TraceFile, opCodes: OpCodes, columns: readonly (Column | undefined)[]) {
    this.#file = file;
    this.#opCodes = opCodes;
    this.#columns = columns.map((column) => column && { column, scratch: new ColumnScratch(), data: null });
  }

  /**
   * Fills the chunk with the next rows and returns how many; none at the end.
   * @throws CvmtraceError BAD_INPUT if the batch is damaged, IO if it cannot be read.
   */
  fill(output: DataChunk): number {
    while (this.#row === this.#rows && this.#batch < this.#file.batchCount - 1) this.#readBatch(++this.#batch);
    const rows = Math.min(this.#vectorRows, this.#rows - this.#row);
    if (rows > 0) {
      for (const [i, column] of this.#columns.entries()) {
        if (column) this.#copy(column.data, duckdb().data_chunk_get_vector(output, i), rows);
      }
    }
    duckdb().data_chunk_set_size(output, rows);
    this.#row += rows;
    return rows;
  }

  #readBatch(batch: number): void {
    const info = this.#file.batch(batch);
    for (const scan of this.#columns) {
      if (!scan) continue;
      const { name } = scan.column;
      const nullCount = info.buffers.get(name)?.nullCount ?? info.rows;
      scan.data = nullCount === info.rows ? null : this.#file.readColumn(batch, name, scan.scratch);
      if (name === 'op' && scan.data?.kind === 'fixed')
        scan.data = { ...scan.data, data: recode(scan.data.data, this.#opCodes) };
    }
    this.#rows = info.rows;
    this.#row = 0;
  }

  #copy(data: ColumnData | null, vector: Vector, rows: number): void {
    const bits = data === null ? NO_BITS : data.validity?.buffer;
    if (bits) {
      const offset = data === null ? 0 : (data.validity?.byteOffset ?? 0) + this.#row / 8;
      duckdb().vector_ensure_validity_writable(vector);
      duckdb().copy_data_to_vector_validity(vector, 0, bits as ArrayBuffer, offset, Math.ceil(rows / 8));
    }
    if (data === null) return;
    if (data.kind === 'utf8') {
      this.#copyTexts(data, vector, rows);
      return;
    }
    const { buffer, byteOffset, BYTES_PER_ELEMENT: width } = data.data;
    duckdb().copy_data_to_vector(vector, 0, buffer as ArrayBuffer, byteOffset + this.#row * width, rows * width);
  }

  #copyTexts({ offsets, bytes, validity }: Extract<ColumnData, { kind: 'utf8' }>, vector: Vector, rows: number): void {
    for (let i = 0, row = this.#row; i < rows; i++, row++) {
      if (validity && ((validity[row >> 3] ?? 0) & (1 << (row & 7))) === 0) continue;
      duckdb().vector_assign_string_element_len(vector, i, bytes.subarray(offsets[row], offsets[row + 1]));
    }
  }
}

/** Dictionary indices as codes of the common type, in place where both have a byte. The reader has checked that each is in the dictionary. */
function recode<A extends FixedArray>(indices: A, codes: OpCodes): A | Uint8Array | Uint16Array {
  if (!codes) return indices;
  const coded = codes instanceof Uint16Array ? new Uint16Array(indices.length) : (indices as Uint8Array);
  for (let row = 0; row < indices.length; row++) coded[row] = codes[Number(indices[row])] ?? 0;
  return coded;
}
