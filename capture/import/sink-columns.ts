import { bitmapBytes } from '../trace/bitmap.ts';
import type { ArrayOfType, NullableFixedName } from '../trace/schema.ts';

const TWO_TO_32 = 0x1_0000_0000;

/** A column of the rows that are being filled, with an Arrow bitmap of those that have a value. */
export interface SinkColumn {
  readonly name: NullableFixedName;
  readonly data: ArrayOfType[keyof ArrayOfType];
  readonly words: Uint16Array | Uint32Array;
  readonly validity: Uint8Array;
  /** Some row has a value. */
  used: boolean;
}

/** A column of 64 bits: `words` are the halves, the lower first. */
export interface WideColumn extends SinkColumn {
  readonly words: Uint32Array;
}

export function wideColumn(name: NullableFixedName, rows: number): WideColumn {
  const words = new Uint32Array(rows * 2);
  const data = name === 'result' ? new BigInt64Array(words.buffer) : new BigUint64Array(words.buffer);
  return { name, data, words, validity: new Uint8Array(bitmapBytes(rows)), used: false };
}

export function narrowColumn(name: NullableFixedName, data: Uint32Array | Uint16Array): SinkColumn {
  return { name, data, words: data, validity: new Uint8Array(bitmapBytes(data.length)), used: false };
}

/** Gives a row a value of 64 bits. */
export function putWide(column: WideColumn, row: number, lo: number, hi: number): void {
  const { words, validity } = column;
  words[row * 2] = lo;
  words[row * 2 + 1] = hi;
  validity[row >> 3] = (validity[row >> 3] ?? 0) | (1 << (row & 7));
  column.used = true;
}

/** Gives a row a safe integer, also a negative one, as 64 bits. */
export function putNumber(column: WideColumn, row: number, value: number): void {
  putWide(column, row, value, Math.floor(value / TWO_TO_32));
}

export function putNarrow(column: SinkColumn, row: number, value: number): void {
  const { words, validity } = column;
  words[row] = value;
  validity[row >> 3] = (validity[row >> 3] ?? 0) | (1 << (row & 7));
  column.used = true;
}

/** Makes a row null again. */
export function clearCell({ words, validity, data }: SinkColumn, row: number): void {
  validity[row >> 3] = (validity[row >> 3] ?? 0) & ~(1 << (row & 7));
  const width = words.length / data.length;
  words.fill(0, row * width, (row + 1) * width);
}

/** Makes all rows null. */
export function clearColumn(column: SinkColumn): void {
  column.validity.fill(0);
  // Values of rows that are null mean nothing, but the same input should give the same bytes.
  column.words.fill(0);
  column.used = false;
}
