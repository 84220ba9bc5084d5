import { BATCH_ROWS, type CheckedBatch } from './batch.ts';
import { bitmapBytes, countValid, setBit } from './bitmap.ts';
import { asBytes, BodyBuilder, type EncodedMessage } from './encode.ts';
import { columnsOf, WIDTH_BYTES, type FixedColumn } from './schema.ts';

const NO_ERRNO = new Uint8Array(BATCH_ROWS * 2);

/** The format's offsets are 32-bit, signed; a body must hold the other columns too. */
const MAX_TEXT_BYTES = 2 ** 30;

/** Turns rows into record batches. Holds the arrays that do not change from batch to batch. */
export class RowEncoder {
  readonly #columns: ReturnType<typeof columnsOf>;
  readonly #seq = new Uint32Array(BATCH_ROWS * 2);
  readonly #constants = { pid: new ConstantColumn(), tid: new ConstantColumn() };

  constructor(paced: boolean) {
    this.#columns = columnsOf(paced);
  }

  /**
   * Rows `start` to `start + rows` (at most BATCH_ROWS, `start` a multiple of 8) of a batch as one message whose chunks are views of the
   * batch's arrays and of this encoder's: to be written before either changes.
   */
  encode(batch: CheckedBatch, start: number, rows: number, firstSeq: number): EncodedMessage {
    const body = new BodyBuilder(rows);
    for (const column of this.#columns) {
      if (column.type === 'utf8') addDetails(body, batch.detail, start, rows);
      else if (column.nullable) this.#addNullable(body, column, batch, start, rows);
      else if (column.name === 'seq') body.addFixed(this.#seqBytes(rows, firstSeq));
      else if (column.name === 'op') body.addFixed(batch.op.subarray(start, start + rows));
      else
        body.addFixed(
          batch.errno ? asBytes(batch.errno.subarray(start, start + rows)) : NO_ERRNO.subarray(0, rows * 2),
        );
    }
    return body.recordBatch();
  }

  #addNullable(
    body: BodyBuilder,
    column: Extract<FixedColumn, { readonly nullable: true }>,
    batch: CheckedBatch,
    start: number,
    rows: number,
  ): void {
    const { name, type } = column;
    const source = batch.columns[name];
    const constant = name === 'pid' || name === 'tid' ? batch[name] : undefined;
    if (source) {
      const bits = batch.validity[name]?.subarray(start >> 3, bitmapBytes(start + rows));
      body.addFixed(asBytes(source.subarray(start, start + rows)), bits, bits ? rows - countValid(bits, rows) : 0);
    } else if (constant !== undefined && (name === 'pid' || name === 'tid')) {
      body.addFixed(this.#constants[name].bytes(constant, rows));
    } else {
      body.addNulls(WIDTH_BYTES[type]);
    }
  }

  /** Dense numbers, written as 32-bit halves: a loop over BigInts would cost more than all else that the writer does. */
  #seqBytes(rows: number, firstSeq: number): Uint8Array {
    const words = this.#seq;
    for (let row = 0; row < rows; row++) {
      const seq = firstSeq + row;
      words[row * 2] = seq;
      words[row * 2 + 1] = seq / 0x1_0000_0000;
    }
    return asBytes(words.subarray(0, rows * 2));
  }
}

/** A uint32 column with one value in all rows. */
class ConstantColumn {
  readonly #data = new Uint32Array(BATCH_ROWS);
  #value = 0;

  bytes(value: number, rows: number): Uint8Array {
    if (value !== this.#value) {
      this.#data.fill(value);
      this.#value = value;
    }
    return asBytes(this.#data.subarray(0, rows));
  }
}

function addDetails(
  body: BodyBuilder,
  detail: ReadonlyMap<number, string> | undefined,
  start: number,
  rows: number,
): void {
  const texts = new Map<number, Buffer>();
  for (const [row, text] of detail ?? [])
    if (row >= start && row < start + rows) texts.set(row - start, Buffer.from(text));
  const offsets = new Int32Array(rows + 1);
  const validity = new Uint8Array(bitmapBytes(rows));
  const inOrder = [...texts].sort(([a], [b]) => a - b);
  let length = 0;
  let filled = 0;
  for (const [row, text] of inOrder) {
    offsets.fill(length, filled, row + 1);
    filled = row + 1;
    length += text.length;
    setBit(validity, row);
  }
  if (length > MAX_TEXT_BYTES) throw new Error(`details of ${length} bytes in one batch of ${rows} rows`);
  offsets.fill(length, filled);
  body.addUtf8(offsets, Buffer.concat(inOrder.map(([, text]) => text)), validity, rows - inOrder.length);
}
