/**
 * Bytes of the trace's Arrow messages: schema, dictionary of operations, record batches, footer. apache-arrow encodes the flatbuffers; bodies
 * are lists of the given arrays, so that the writer can hand them to writev(2) without a copy.
 * Format: https://arrow.apache.org/docs/format/Columnar.html, section "IPC File Format".
 */
import type { Schema } from 'apache-arrow/schema';
import { Footer, FileBlock } from 'apache-arrow/ipc/metadata/file';
import { BufferRegion, DictionaryBatch, FieldNode, Message, RecordBatch } from 'apache-arrow/ipc/metadata/message';
import { MetadataVersion } from 'apache-arrow/enum';
import { BATCH_ROWS } from './batch.ts';
import { OP_DICTIONARY_ID } from './schema.ts';

/** First bytes of an Arrow file (padded to 8), and its last 6. */
export const MAGIC = Buffer.from('ARROW1');
export const FILE_START = Buffer.from('ARROW1\0\0');

/** Where a message is in the file, as the footer says it; bytes. */
export interface Block {
  readonly offset: number;
  /** Prefix, flatbuffer and padding. */
  readonly metadataLength: number;
  readonly bodyLength: number;
}

/** A message ready to be written: framed flatbuffer, then the body's pieces. */
export interface EncodedMessage {
  readonly chunks: readonly Uint8Array[];
  readonly metadataLength: number;
  readonly bodyLength: number;
}

/** Zeros for padding and for columns that are null throughout; as long as the widest column of a full batch. */
const ZEROS = new Uint8Array(BATCH_ROWS * 8);

/** Collects the columns of one batch in the order of the schema. */
export class BodyBuilder {
  readonly #rows: number;
  readonly #nodes: FieldNode[] = [];
  readonly #regions: BufferRegion[] = [];
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(rows: number) {
    this.#rows = rows;
  }

  /** A column of fixed width. Without `validity` no row is null. */
  addFixed(data: Uint8Array, validity?: Uint8Array, nullCount = 0): void {
    this.#addNode(nullCount, validity);
    this.#addBuffer(data);
  }

  /** A column of fixed width that is null in every row. */
  addNulls(widthBytes: number): void {
    this.addFixed(ZEROS.subarray(0, this.#rows * widthBytes), ZEROS.subarray(0, Math.ceil(this.#rows / 8)), this.#rows);
  }

  /** A column of texts; `offsets` has one more value than there are rows. */
  addUtf8(offsets: Int32Array, text: Uint8Array, validity?: Uint8Array, nullCount = 0): void {
    this.#addNode(nullCount, validity);
    this.#addBuffer(asBytes(offsets));
    this.#addBuffer(text);
  }

  #addNode(nullCount: number, validity: Uint8Array | undefined): void {
    this.#nodes.push(new FieldNode(this.#rows, nullCount));
    this.#addBuffer(nullCount > 0 && validity ? validity : ZEROS.subarray(0, 0));
  }

  #addBuffer(bytes: Uint8Array): void {
    this.#regions.push(new BufferRegion(this.#length, bytes.length));
    const padding = -bytes.length & 7;
    if (bytes.length > 0) this.#chunks.push(bytes);
    if (padding > 0) this.#chunks.push(ZEROS.subarray(0, padding));
    this.#length += bytes.length + padding;
  }

  recordBatch(): EncodedMessage {
    return this.#encode(new RecordBatch(this.#rows, this.#nodes, this.#regions, null));
  }

  dictionary(id: number): EncodedMessage {
    return this.#encode(new DictionaryBatch(new RecordBatch(this.#rows, this.#nodes, this.#regions, null), id));
  }

  #encode(header: RecordBatch | DictionaryBatch): EncodedMessage {
    const metadata = frame(Message.encode(Message.from(header, this.#length)));
    return { chunks: [metadata, ...this.#chunks], metadataLength: metadata.length, bodyLength: this.#length };
  }
}

export function encodeSchema(schema: Schema): Uint8Array {
  return frame(Message.encode(Message.from(schema)));
}

/** The dictionary of `op`: names in the order of their codes. */
export function encodeOps(names: readonly string[]): EncodedMessage {
  const texts = names.map((name) => Buffer.from(name));
  const offsets = new Int32Array(names.length + 1);
  texts.forEach((text, i) => (offsets[i + 1] = (offsets[i] ?? 0) + text.length));
  const body = new BodyBuilder(names.length);
  body.addUtf8(offsets, Buffer.concat(texts));
  return body.dictionary(OP_DICTIONARY_ID);
}

/** All that follows the last batch: end-of-stream marker, footer, its length, magic. `footer` is an encoded flatbuffer. */
export function fileEnd(footer: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeInt32LE(footer.length);
  return Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), footer, length, MAGIC]);
}

export function encodeFooter(schema: Schema, dictionaries: readonly Block[], batches: readonly Block[]): Uint8Array {
  return Footer.encode(new Footer(schema, MetadataVersion.V5, batches.map(fileBlock), dictionaries.map(fileBlock)));
}

function fileBlock({ offset, metadataLength, bodyLength }: Block): FileBlock {
  return new FileBlock(metadataLength, bodyLength, offset);
}

/** Puts the continuation marker and the length before a flatbuffer and pads it, so that the body begins at a multiple of 8. */
function frame(flatbuffer: Uint8Array): Uint8Array {
  const framed = Buffer.alloc((8 + flatbuffer.length + 7) & ~7);
  framed.writeInt32LE(-1, 0);
  framed.writeInt32LE(framed.length - 8, 4);
  framed.set(flatbuffer, 8);
  return framed;
}

/** The bytes of a typed array, not copied. */
export function asBytes(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
