/** Appends rows to one of the state tables, a vector at a time. */
import type { Appender, Connection, LogicalType } from '@duckdb/node-bindings';
import { duckdb } from './duckdb.ts';
import { STATE_TABLES, type StateTable, type TableColumn } from '../state/tables.ts';

/** The connection that tables are written on. */
export type TableConnection = Connection;

/** Empties the state tables, of all traces or of one. */
export async function emptyStateTables(connection: TableConnection, trace?: number): Promise<void> {
  const where = trace === undefined ? '' : ` where trace = ${trace}`;
  for (const table of Object.keys(STATE_TABLES)) await duckdb().query(connection, `delete from ${table}${where}`);
}

/** Numbers below 0 and undefined are null. */
export type Cell = number | boolean | string | undefined;

const ROWS = 2048;
/** Rows between flushes, so that what waits in memory is bounded. */
const FLUSH_ROWS = ROWS * 100;
const TWO_32 = 4294967296;
/** 2^64 - 1, the end of the address space, as the nearest that a double has. */
const TOP = 2 ** 64;

export class TableWriter {
  readonly #appender: Appender;
  readonly #types: readonly LogicalType[];
  readonly #columns: readonly ColumnBuffer[];
  #rows = 0;
  #unflushed = 0;

  constructor(connection: Connection, table: StateTable) {
    const columns: readonly TableColumn[] = STATE_TABLES[table];
    this.#appender = duckdb().appender_create(connection, null, table);
    this.#types = columns.map(([, type]) => duckdb().create_logical_type(duckdb().Type[TYPE_NAMES[type]]));
    this.#columns = columns.map(([, type]) => new ColumnBuffer(type));
  }

  /** A row in the order of the table's columns. The caller can use the array again. */
  add(cells: readonly Cell[]): void {
    for (let i = 0; i < this.#columns.length; i++) (this.#columns[i] as ColumnBuffer).set(this.#rows, cells[i]);
    if (++this.#rows === ROWS) this.#append();
  }

  close(): void {
    if (this.#rows > 0) this.#append();
    duckdb().appender_close_sync(this.#appender);
  }

  #append(): void {
    const chunk = duckdb().create_data_chunk(this.#types);
    this.#columns.forEach((column, i) => {
      column.copyTo(duckdb().data_chunk_get_vector(chunk, i), this.#rows);
    });
    duckdb().data_chunk_set_size(chunk, this.#rows);
    duckdb().append_data_chunk(this.#appender, chunk);
    this.#unflushed += this.#rows;
    this.#rows = 0;
    if (this.#unflushed < FLUSH_ROWS) return;
    duckdb().appender_flush_sync(this.#appender);
    this.#unflushed = 0;
  }
}

const TYPE_NAMES = {
  uinteger: 'UINTEGER',
  ubigint: 'UBIGINT',
  bigint: 'BIGINT',
  boolean: 'BOOLEAN',
  varchar: 'VARCHAR',
} as const;

class ColumnBuffer {
  readonly #type: TableColumn[1];
  readonly #signed: boolean;
  /** Bytes of a value. */
  readonly #width: number;
  readonly #validity = new Uint8Array(ROWS / 8);
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #texts: (string | undefined)[] = [];

  constructor(type: TableColumn[1]) {
    this.#type = type;
    this.#signed = type === 'bigint';
    this.#width = type === 'uinteger' ? 4 : type === 'boolean' ? 1 : type === 'varchar' ? 0 : 8;
    this.#bytes = new Uint8Array(ROWS * this.#width);
    this.#words = new Uint32Array(this.#bytes.buffer);
  }

  set(row: number, cell: Cell): void {
    const byte = row >> 3;
    const bits = this.#validity[byte] as number;
    if (typeof cell === 'number') {
      if (cell < 0 && !this.#signed) {
        this.#validity[byte] = bits & ~(1 << (row & 7));
        return;
      }
      this.#validity[byte] = bits | (1 << (row & 7));
      if (this.#width === 8) this.#setWide(row, cell);
      else this.#words[row] = cell;
      return;
    }
    if (this.#type === 'varchar') this.#texts[row] = cell as string | undefined;
    if (cell === undefined) {
      this.#validity[byte] = bits & ~(1 << (row & 7));
      return;
    }
    this.#validity[byte] = bits | (1 << (row & 7));
    if (this.#type === 'boolean') this.#bytes[row] = Number(cell);
  }

  copyTo(vector: ReturnType<ReturnType<typeof duckdb>['data_chunk_get_vector']>, rows: number): void {
    duckdb().vector_ensure_validity_writable(vector);
    duckdb().copy_data_to_vector_validity(vector, 0, this.#validity.buffer, 0, Math.ceil(rows / 8));
    if (this.#type === 'varchar') {
      for (let row = 0; row < rows; row++) {
        const text = this.#texts[row];
        if (text !== undefined) duckdb().vector_assign_string_element(vector, row, text);
      }
      return;
    }
    duckdb().copy_data_to_vector(vector, 0, this.#bytes.buffer, 0, this.#width * rows);
  }

  /** A double as 64 bits, little-endian; of negative ones only the column's own are here. */
  #setWide(row: number, value: number): void {
    if (value >= TOP) {
      this.#words[2 * row] = 0xffffffff;
      this.#words[2 * row + 1] = 0xffffffff;
      return;
    }
    const high = Math.floor(value / TWO_32);
    this.#words[2 * row] = value - high * TWO_32;
    this.#words[2 * row + 1] = high >>> 0;
  }
}
