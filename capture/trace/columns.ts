import type { ArrowBatch, ArrowField, BufferRange } from './decode.ts';
import { FlatbufferError } from './flatbuffer.ts';
import { bitmapBytes } from './bitmap.ts';
import { COLUMNS } from './schema.ts';

/** Typed arrays by the Arrow type of a column of fixed width that can be read. */
const ARRAYS = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
  float64: Float64Array,
  'dictionary<uint8, utf8>': Uint8Array,
} as const;

export type FixedArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** A column of a file. */
export interface TraceColumn {
  readonly name: string;
  /** Arrow type, such as "uint64" or "dictionary<uint8, utf8>". */
  readonly type: string;
  readonly nullable: boolean;
  /** False: a column that this version of the format does not define. */
  readonly known: boolean;
  /** False: an unknown column of a type that is only kept. */
  readonly readable: boolean;
  readonly dictionaryId: number | undefined;
  /** Place of its first node and buffer among those of a batch. */
  readonly firstNode: number;
  readonly firstBuffer: number;
}

export interface ColumnLayout {
  readonly columns: readonly TraceColumn[];
  readonly nodes: number;
  readonly buffers: number;
}

/** Byte ranges of a column's buffers within a batch's body. */
export interface ColumnBuffers {
  readonly nullCount: number;
  /** Absent if no row is null. */
  readonly validity: BufferRange | undefined;
  /** Values of fixed width, or the offsets of texts. */
  readonly data: BufferRange;
  /** Bytes of the texts. */
  readonly text: BufferRange | undefined;
}

/** Constructor of the typed array for a type of fixed width; undefined for others. */
export function arrayOf(type: string): (typeof ARRAYS)[keyof typeof ARRAYS] | undefined {
  return Object.hasOwn(ARRAYS, type) ? ARRAYS[type as keyof typeof ARRAYS] : undefined;
}

/** Checks the known columns and finds where each column's buffers are. Throws FlatbufferError that names the column. */
export function layOutColumns(fields: readonly ArrowField[]): ColumnLayout {
  const columns: TraceColumn[] = [];
  const byName = new Map<string, ArrowField>();
  let nodes = 0;
  let buffers = 0;
  for (const field of fields) {
    const { name, type, nullable, dictionaryId } = field;
    if (byName.has(name)) throw new FlatbufferError(`it has two columns ${name}`);
    byName.set(name, field);
    const known = COLUMNS.some((column) => column.name === name);
    const readable = type === 'utf8' || arrayOf(type) !== undefined;
    columns.push({ name, type, nullable, known, readable, dictionaryId, firstNode: nodes, firstBuffer: buffers });
    nodes += field.nodes;
    buffers += field.buffers;
  }
  for (const column of COLUMNS) {
    const field = byName.get(column.name);
    if (!field && !('optional' in column)) throw new FlatbufferError(`it has no column ${column.name}`);
    if (field && field.type !== column.type) {
      throw new FlatbufferError(`column ${column.name} is ${field.type} and must be ${column.type}`);
    }
  }
  return { columns, nodes, buffers };
}

/** A column's buffers in a batch, checked against the number of rows and the body. Throws FlatbufferError. */
export function buffersOf(column: TraceColumn, batch: ArrowBatch, bodyLength: number): ColumnBuffers {
  const { rows } = batch;
  const bad = (what: string): FlatbufferError =>
    new FlatbufferError(`column ${column.name} has ${what} in a batch of ${rows} rows`);
  const node = batch.nodes[column.firstNode];
  if (node?.length !== rows) throw bad(`${node?.length ?? 'no'} rows`);
  if (node.nullCount > rows) throw bad(`${node.nullCount} nulls`);
  if (node.nullCount > 0 && COLUMNS.some((known) => known.name === column.name && !known.nullable)) throw bad('nulls');
  const isText = column.type === 'utf8';
  const width = isText ? 4 : (arrayOf(column.type)?.BYTES_PER_ELEMENT ?? 0);
  const range = (index: number, needed: number): BufferRange => {
    const buffer = batch.buffers[column.firstBuffer + index];
    if (!buffer || buffer.offset + buffer.length > bodyLength) throw bad('a buffer outside the body');
    if (buffer.length < needed) throw bad(`a buffer of ${buffer.length} bytes`);
    return buffer;
  };
  return {
    nullCount: node.nullCount,
    validity: node.nullCount > 0 ? range(0, bitmapBytes(rows)) : undefined,
    // Texts of no rows may do without the one offset.
    data: range(1, isText && rows > 0 ? (rows + 1) * 4 : rows * width),
    text: isText ? range(2, 0) : undefined,
  };
}
