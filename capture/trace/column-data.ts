import { isUtf8 } from 'node:buffer';
import { bitmapBytes } from './bitmap.ts';
import { arrayOf, type ColumnBuffers, type FixedArray, type TraceColumn } from './columns.ts';
import type { FileSource } from './file-source.ts';
import { FlatbufferError } from './flatbuffer.ts';

/** Values of a column of fixed width in one batch; of a dictionary column its indices, all in range. */
export interface FixedColumnData<A extends FixedArray = FixedArray> {
  readonly kind: 'fixed';
  /** One value per row; that of a row that is null means nothing. */
  readonly data: A;
  /** Arrow bitmap, a multiple of 8 bytes long; undefined if no row is null. */
  readonly validity: Uint8Array | undefined;
}

/** Texts of one batch: row i is bytes offsets[i] to offsets[i + 1], valid UTF-8. */
export interface Utf8ColumnData {
  readonly kind: 'utf8';
  readonly offsets: Int32Array;
  readonly bytes: Uint8Array;
  readonly validity: Uint8Array | undefined;
}

export type ColumnData = FixedColumnData | Utf8ColumnData;

/**
 * Memory to read columns into again and again. What was read into it before is overwritten by the next read: one for each column that is in
 * use at the same time.
 */
export class ColumnScratch {
  readonly #buffers = new Map<string, ArrayBuffer>();

  /** Memory of at least so many bytes for one of a column's buffers. */
  take(buffer: 'data' | 'validity' | 'text', bytes: number): ArrayBuffer {
    let found = this.#buffers.get(buffer);
    if (!found || found.byteLength < bytes) {
      found = new ArrayBuffer(bytes);
      this.#buffers.set(buffer, found);
    }
    return found;
  }
}

/** What to read: a column's buffers in the body that begins at `bodyOffset`. */
export interface ColumnPlace {
  readonly column: TraceColumn;
  readonly buffers: ColumnBuffers;
  readonly rows: number;
  readonly bodyOffset: number;
  /** Values in the column's dictionary, if it has one. */
  readonly dictionarySize: number;
}

/** Reads a column, one pread per buffer. Throws FlatbufferError if its values cannot be. */
export function readColumnData(source: FileSource, place: ColumnPlace, scratch = new ColumnScratch()): ColumnData {
  const { column, buffers, rows, bodyOffset } = place;
  const validity = buffers.validity && readValidity(source, place, scratch);
  if (buffers.text) {
    const offsets = new Int32Array(scratch.take('data', (rows + 1) * 4), 0, rows + 1);
    if (rows > 0) source.readInto(bytesOf(offsets), bodyOffset + buffers.data.offset);
    else offsets[0] = 0;
    assertOffsets(column.name, offsets, buffers.text.length);
    // Only the bytes that the offsets name: the rest of the buffer may be anything.
    const length = offsets[rows] ?? 0;
    const bytes = new Uint8Array(scratch.take('text', length), 0, length);
    source.readInto(bytes, bodyOffset + buffers.text.offset);
    assertUtf8(column.name, offsets, bytes);
    return { kind: 'utf8', offsets, bytes, validity };
  }
  const ArrayType = arrayOf(column.type);
  if (!ArrayType)
    throw new FlatbufferError(`column ${column.name} is ${column.type}, which cvmtrace keeps but does not read`);
  const data = new ArrayType(scratch.take('data', rows * ArrayType.BYTES_PER_ELEMENT), 0, rows);
  source.readInto(bytesOf(data), bodyOffset + buffers.data.offset);
  if (column.dictionaryId !== undefined && data instanceof Uint8Array) {
    assertIndices(column.name, data, validity, place.dictionarySize);
  }
  return { kind: 'fixed', data, validity };
}

function readValidity(
  source: FileSource,
  { buffers, rows, bodyOffset }: ColumnPlace,
  scratch: ColumnScratch,
): Uint8Array {
  const padded = Math.ceil(rows / 64) * 8;
  const bits = new Uint8Array(scratch.take('validity', padded), 0, padded);
  const used = bitmapBytes(rows);
  source.readInto(bits.subarray(0, used), bodyOffset + (buffers.validity?.offset ?? 0));
  bits.fill(0, used);
  return bits;
}

function assertIndices(
  name: string,
  indices: Uint8Array,
  validity: Uint8Array | undefined,
  dictionarySize: number,
): void {
  if (dictionarySize > 255) return;
  for (let row = 0; row < indices.length; row++) {
    const index = indices[row] ?? 0;
    if (index < dictionarySize) continue;
    if (validity && (((validity[row >> 3] ?? 0) >> (row & 7)) & 1) === 0) continue;
    throw new FlatbufferError(
      `column ${name} has index ${index} in row ${row}, its dictionary has ${dictionarySize} values`,
    );
  }
}

function assertOffsets(name: string, offsets: Int32Array, textBytes: number): void {
  let before = 0;
  for (let row = 0; row < offsets.length; row++) {
    const offset = offsets[row] ?? 0;
    if (offset < before) throw new FlatbufferError(`column ${name} has offsets that go back in row ${row}`);
    before = offset;
  }
  if (before > textBytes) throw new FlatbufferError(`column ${name} has text up to byte ${before} of ${textBytes}`);
}

/** Texts are handed to other programs' string code, which trusts them to be UTF-8. */
function assertUtf8(name: string, offsets: Int32Array, bytes: Uint8Array): void {
  let good = isUtf8(bytes);
  // The whole can be UTF-8 though a row ends in the middle of a character.
  for (let row = 0; good && row < offsets.length; row++) good = ((bytes[offsets[row] ?? 0] ?? 0) & 0xc0) !== 0x80;
  if (!good) throw new FlatbufferError(`column ${name} has text that is not UTF-8`);
}

function bytesOf(array: FixedArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
