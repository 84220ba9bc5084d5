/** Encodes the result of a query as an Arrow IPC file, one record batch per chunk, in the memory of one chunk. */
import {
  Bool,
  Dictionary,
  Field,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  Int8,
  Schema,
  Uint16,
  Uint32,
  Uint64,
  Uint8,
  Utf8,
  type DataType,
} from 'apache-arrow';
import {
  asBytes,
  BodyBuilder,
  encodeFooter,
  encodeSchema,
  FILE_START,
  fileEnd,
  type Block,
  type EncodedMessage,
} from '../../capture/trace/encode.ts';
import type { Chunk, ColumnChunk, ResultColumn } from './chunk.ts';

const ARROW_TYPES: Readonly<Record<string, () => DataType>> = {
  BOOLEAN: () => new Bool(),
  TINYINT: () => new Int8(),
  SMALLINT: () => new Int16(),
  INTEGER: () => new Int32(),
  BIGINT: () => new Int64(),
  UTINYINT: () => new Uint8(),
  USMALLINT: () => new Uint16(),
  UINTEGER: () => new Uint32(),
  UBIGINT: () => new Uint64(),
  FLOAT: () => new Float32(),
  DOUBLE: () => new Float64(),
  VARCHAR: () => new Utf8(),
};

/** Whether a column of this DuckDB type, as `describe` writes it, can be encoded; others are to be cast to text before. */
export function hasArrowType(type: string): boolean {
  return type in ARROW_TYPES || type.startsWith('ENUM');
}

/** The bytes of the file, as the chunks come. An ENUM becomes a dictionary column. */
export async function* encodeResult(
  columns: readonly ResultColumn[],
  chunks: AsyncIterable<Chunk>,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  const fields = columns.map((column, i) => new Field(column.name, arrowType(column, i), true));
  const schema = new Schema(fields, new Map(Object.entries(metadata)));
  let position = 0;
  const place = ({ metadataLength, bodyLength }: EncodedMessage): Block => {
    const block = { offset: position, metadataLength, bodyLength };
    position += metadataLength + bodyLength;
    return block;
  };

  const head = [FILE_START, encodeSchema(schema)];
  for (const piece of head) position += piece.length;
  yield* head;
  const dictionaries: Block[] = [];
  for (const [id, { dictionary }] of columns.entries()) {
    if (!dictionary) continue;
    const body = new BodyBuilder(dictionary.length);
    addTexts(body, dictionary);
    const message = body.dictionary(id);
    dictionaries.push(place(message));
    yield* message.chunks;
  }
  const batches: Block[] = [];
  for await (const chunk of chunks) {
    const body = new BodyBuilder(chunk.rows);
    chunk.columns.forEach((column, i) => addColumn(body, columns[i]?.type, column, chunk.rows));
    const message = body.recordBatch();
    batches.push(place(message));
    yield* message.chunks;
  }
  yield fileEnd(encodeFooter(schema, dictionaries, batches));
}

function arrowType(column: ResultColumn, id: number): DataType {
  if (column.dictionary) {
    const { length } = column.dictionary;
    return new Dictionary(
      new Utf8(),
      length <= 0x100 ? new Uint8() : length <= 0x10000 ? new Uint16() : new Uint32(),
      id,
    );
  }
  const make = ARROW_TYPES[column.type];
  if (!make) throw new Error(`column ${column.name} of type ${column.type} was not cast to text`);
  return make();
}

function addColumn(body: BodyBuilder, type: string | undefined, { values, validity }: ColumnChunk, rows: number): void {
  if (!ArrayBuffer.isView(values)) {
    addTexts(body, values as readonly (string | null)[]);
    return;
  }
  const data = type === 'BOOLEAN' ? packBits(values as Uint8Array) : asBytes(values);
  if (validity === null) body.addFixed(data);
  else body.addFixed(data, validity, rows - countBits(validity, rows));
}

function addTexts(body: BodyBuilder, texts: readonly (string | null)[]): void {
  const bytes = texts.map((text) => Buffer.from(text ?? ''));
  const offsets = new Int32Array(texts.length + 1);
  bytes.forEach((text, i) => (offsets[i + 1] = (offsets[i] ?? 0) + text.length));
  const present = packBits(texts.map((text) => (text === null ? 0 : 1)));
  body.addUtf8(offsets, Buffer.concat(bytes), present, texts.length - countBits(present, texts.length));
}

/** One bit per value that is not 0, least significant first. */
function packBits(values: ArrayLike<number>): Uint8Array {
  const bits = new Uint8Array(Math.ceil(values.length / 8));
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  return bits;
}

function countBits(bits: Uint8Array, count: number): number {
  let set = 0;
  for (let i = 0; i < count; i++) set += ((bits[i >> 3] ?? 0) >> (i & 7)) & 1;
  return set;
}
