import { bitmapBytes, copyBits, setBits } from './bitmap.ts';
import { BATCH_ROWS, type CheckedBatch } from './batch.ts';
import { asBytes } from './encode.ts';
import { COLUMNS, type ArrayOfType, type NullableFixedName } from './schema.ts';

const NEW_ARRAY: { readonly [T in keyof ArrayOfType]: () => ArrayOfType[T] } = {
  uint16: () => new Uint16Array(BATCH_ROWS),
  uint32: () => new Uint32Array(BATCH_ROWS),
  uint64: () => new BigUint64Array(BATCH_ROWS),
  int64: () => new BigInt64Array(BATCH_ROWS),
};

interface PendingColumn {
  readonly name: NullableFixedName;
  readonly data: ArrayOfType[keyof ArrayOfType];
  readonly bytes: Uint8Array;
  readonly widthBytes: number;
  readonly validity: Uint8Array;
}

/** Rows of small appends, copied together until they make a batch worth writing. */
export class PendingRows {
  readonly #op = new Uint8Array(BATCH_ROWS);
  readonly #errno = new Uint16Array(BATCH_ROWS);
  readonly #columns: readonly PendingColumn[];
  readonly #detail = new Map<number, string>();
  #rows = 0;
  #textCharacters = 0;

  constructor(paced: boolean) {
    this.#columns = COLUMNS.flatMap((column) => {
      if (!column.nullable || column.type === 'utf8' || (column.name === 'lag_ns' && !paced)) return [];
      const data = NEW_ARRAY[column.type]();
      const validity = new Uint8Array(bitmapBytes(BATCH_ROWS));
      return [{ name: column.name, data, bytes: asBytes(data), widthBytes: data.BYTES_PER_ELEMENT, validity }];
    });
  }

  get rows(): number {
    return this.#rows;
  }

  /** Length of all details. */
  get textCharacters(): number {
    return this.#textCharacters;
  }

  /** Copies a batch that fits into what is left of BATCH_ROWS. */
  add(batch: CheckedBatch): void {
    const { rows } = batch;
    const at = this.#rows;
    this.#op.set(batch.op.subarray(0, rows), at);
    if (batch.errno) this.#errno.set(batch.errno.subarray(0, rows), at);
    else this.#errno.fill(0, at, at + rows);
    for (const column of this.#columns) this.#addColumn(column, batch);
    for (const [row, text] of batch.detail ?? []) {
      if (row >= rows) continue;
      this.#detail.set(at + row, text);
      this.#textCharacters += text.length;
    }
    this.#rows += rows;
  }

  #addColumn({ name, data, bytes, widthBytes, validity }: PendingColumn, batch: CheckedBatch): void {
    const { rows } = batch;
    const at = this.#rows;
    const source = batch.columns[name];
    const constant = name === 'pid' || name === 'tid' ? batch[name] : undefined;
    if (source) {
      bytes.set(asBytes(source).subarray(0, rows * widthBytes), at * widthBytes);
      const bits = batch.validity[name];
      if (bits) copyBits(validity, at, bits, rows);
      else setBits(validity, at, rows);
    } else if (constant !== undefined && data instanceof Uint32Array) {
      data.fill(constant, at, at + rows);
      setBits(validity, at, rows);
    } else {
      bytes.fill(0, at * widthBytes, (at + rows) * widthBytes);
    }
  }

  /** The rows as a batch; views, valid until the next `add`. */
  batch(): CheckedBatch {
    return {
      rows: this.#rows,
      op: this.#op,
      errno: this.#errno,
      columns: Object.fromEntries(this.#columns.map(({ name, data }) => [name, data])),
      validity: Object.fromEntries(this.#columns.map(({ name, validity }) => [name, validity])),
      detail: this.#detail,
    };
  }

  clear(): void {
    this.#rows = 0;
    this.#textCharacters = 0;
    this.#detail.clear();
    for (const { validity } of this.#columns) validity.fill(0);
  }
}
