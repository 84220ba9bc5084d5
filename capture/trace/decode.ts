/**
 * What Arrow's messages say, decoded from untrusted bytes into plain values whose sizes are checked.
 * Tables and field numbers: https://github.com/apache/arrow/tree/main/format (Message.fbs, Schema.fbs, File.fbs).
 */
import type { Block } from './encode.ts';
import { FlatbufferError, FlatTable } from './flatbuffer.ts';
import { METADATA_KEY } from './schema.ts';

/** Message.fbs: MessageHeader. */
export const HeaderType = { schema: 1, dictionaryBatch: 2, recordBatch: 3 } as const;

/** Names of Type.fbs's types in the order of their numbers. */
// prettier-ignore
const TYPE_NAMES = [
  'none', 'null', 'int', 'float', 'binary', 'utf8', 'bool', 'decimal', 'date', 'time', 'timestamp', 'interval',
  'list', 'struct', 'union', 'fixed_size_binary', 'fixed_size_list', 'map', 'duration', 'large_binary', 'large_utf8',
  'large_list', 'run_end_encoded', 'binary_view', 'utf8_view', 'list_view', 'large_list_view',
] as const;

/** A schema with more fields than this, or nested deeper, is no trace. */
const MAX_FIELDS = 1024;
const MAX_DEPTH = 8;
const MAX_KEYS = 256;
const MAX_NAME_BYTES = 4096;

/** Bytes of a message's flatbuffer, and of what is in it. A trace's are a few KiB, mostly its metadata. */
export const MAX_METADATA_BYTES = 16 * 1024 * 1024;

const ARROW_HINT = 'write it with a version of Arrow from 1.0 to 21';

export interface ArrowField {
  readonly name: string;
  /** "uint64", "utf8", "dictionary<uint8, utf8>", or the name of a type that is only kept. */
  readonly type: string;
  readonly nullable: boolean;
  readonly dictionaryId: number | undefined;
  /** Type of the dictionary's values. */
  readonly valueType: string | undefined;
  /** Field nodes and buffers that it has in a record batch, with those of its children. */
  readonly nodes: number;
  readonly buffers: number;
}

export interface ArrowSchema {
  readonly fields: readonly ArrowField[];
  /** Value of the key `cvmtrace`. */
  readonly metadataJson: string | undefined;
}

export interface ArrowMessage {
  readonly headerType: number;
  readonly header: FlatTable;
  readonly bodyLength: number;
}

/** Bytes in a message's body. */
export interface BufferRange {
  readonly offset: number;
  readonly length: number;
}

/** A record batch, or the data of a dictionary batch. Nodes and buffers are those of the fields in order, depth first. */
export interface ArrowBatch {
  readonly rows: number;
  readonly nodes: readonly { readonly length: number; readonly nullCount: number }[];
  readonly buffers: readonly BufferRange[];
}

export interface ArrowFooter {
  readonly schema: ArrowSchema;
  readonly dictionaries: readonly Block[];
  readonly batches: readonly Block[];
}

/** Decodes the flatbuffer of a message. Throws FlatbufferError. */
export function decodeMessage(bytes: Uint8Array): ArrowMessage {
  const table = FlatTable.root(bytes);
  assertVersion(table.int16(0, 0));
  const header = table.table(2);
  if (!header) throw new FlatbufferError('a message without a header');
  return { headerType: table.uint8(1, 0), header, bodyLength: table.size(3) };
}

export function decodeFooter(bytes: Uint8Array): ArrowFooter {
  const table = FlatTable.root(bytes);
  assertVersion(table.int16(0, 0));
  const schema = table.table(1);
  if (!schema) throw new FlatbufferError('a footer without a schema');
  return { schema: decodeSchema(schema), dictionaries: decodeBlocks(table, 2), batches: decodeBlocks(table, 3) };
}

export function decodeSchema(table: FlatTable): ArrowSchema {
  if (table.int16(0, 0) !== 0) throw new UnsupportedError('big-endian data', 'write it on a little-endian machine');
  const budget = { fields: MAX_FIELDS };
  const fields = decodeFields(table, 1, budget, 0);
  if (table.count(2, 4) > MAX_KEYS) throw new FlatbufferError(`a schema with more than ${MAX_KEYS} metadata keys`);
  const own = table.tables(2).find((pair) => pair.text(0, MAX_NAME_BYTES) === METADATA_KEY);
  return { fields, metadataJson: own?.text(1, MAX_METADATA_BYTES) };
}

/** Decodes a batch that must have so many nodes and buffers. */
export function decodeBatch(table: FlatTable, nodeCount: number, bufferCount: number): ArrowBatch {
  if (table.table(3)) {
    // The format wants buffers as they are, so that a column can be read without a detour.
    const hint =
      "write it uncompressed: pyarrow.feather.write_feather(table, path, compression='uncompressed'), or as Parquet";
    throw new UnsupportedError('compressed buffers', hint);
  }
  const nodes = table.structs(1, 16);
  const buffers = table.structs(2, 16);
  if (nodes.length !== nodeCount || buffers.length !== bufferCount) {
    throw new FlatbufferError(
      `${nodes.length} columns with ${buffers.length} buffers where the schema has ${nodeCount} with ${bufferCount}`,
    );
  }
  return {
    rows: table.size(0),
    nodes: Array.from({ length: nodeCount }, (_, i) => ({
      length: table.sizeAt(nodes.at + i * 16),
      nullCount: table.sizeAt(nodes.at + i * 16 + 8),
    })),
    buffers: Array.from({ length: bufferCount }, (_, i) => ({
      offset: table.sizeAt(buffers.at + i * 16),
      length: table.sizeAt(buffers.at + i * 16 + 8),
    })),
  };
}

/** The bytes are right, but of a kind that cvmtrace does not read. The message names it, as the end of "it has ...". */
export class UnsupportedError extends FlatbufferError {
  readonly hint: string;

  constructor(what: string, hint: string) {
    super(what);
    this.hint = hint;
  }
}

/** Metadata V4 (Arrow 0.8) and V5 (1.0) are the same for the types that a trace has. */
function assertVersion(version: number): void {
  if (version !== 3 && version !== 4)
    throw new UnsupportedError(`Arrow metadata of version ${version + 1}`, ARROW_HINT);
}

function decodeBlocks(table: FlatTable, field: number): Block[] {
  const { at, length } = table.structs(field, 24);
  return Array.from({ length }, (_, i) => ({
    offset: table.sizeAt(at + i * 24),
    metadataLength: table.int32At(at + i * 24 + 8),
    bodyLength: table.sizeAt(at + i * 24 + 16),
  }));
}

function decodeFields(table: FlatTable, field: number, budget: { fields: number }, depth: number): ArrowField[] {
  budget.fields -= table.count(field, 4);
  if (budget.fields < 0) throw new FlatbufferError(`a schema of more than ${MAX_FIELDS} columns`);
  if (depth > MAX_DEPTH) throw new FlatbufferError(`columns nested more than ${MAX_DEPTH} deep`);
  return table.tables(field).map((child) => decodeField(child, budget, depth));
}

function decodeField(table: FlatTable, budget: { fields: number }, depth: number): ArrowField {
  const typeNumber = table.uint8(2, 0);
  const type = typeName(typeNumber, table.table(3));
  const children = decodeFields(table, 5, budget, depth + 1);
  const dictionary = table.table(4);
  const indexType = dictionary && typeName(2, dictionary.table(1));
  // A dictionary's children are in the dictionary batch; the column has indices only.
  const inBatch = dictionary ? [] : children;
  const ownBuffers = dictionary ? 2 : buffersOf(TYPE_NAMES[typeNumber], table.table(3));
  return {
    name: table.text(0, MAX_NAME_BYTES) ?? '',
    type: indexType === undefined ? type : `dictionary<${indexType}, ${type}>`,
    nullable: table.bool(1),
    dictionaryId: dictionary?.size(0),
    valueType: dictionary && type,
    nodes: inBatch.reduce((sum, child) => sum + child.nodes, 1),
    buffers: inBatch.reduce((sum, child) => sum + child.buffers, ownBuffers),
  };
}

function typeName(number: number, type: FlatTable | undefined): string {
  const name = TYPE_NAMES[number];
  if (name === undefined) throw new UnsupportedError(`a column of Arrow type ${number}`, ARROW_HINT);
  if (name === 'int') {
    const bits = type?.int32(0, 0) ?? 32;
    if (![8, 16, 32, 64].includes(bits)) throw new FlatbufferError(`an integer type of ${bits} bits`);
    return `${(type?.bool(1) ?? true) ? '' : 'u'}int${bits}`;
  }
  if (name === 'float') return ['float16', 'float32', 'float64'][type?.int16(0, 0) ?? 0] ?? 'float';
  return name;
}

/** Buffers of a column of a type itself, without its children's. */
function buffersOf(name: (typeof TYPE_NAMES)[number] | undefined, type: FlatTable | undefined): number {
  switch (name) {
    case undefined:
    case 'none':
    case 'null':
    case 'run_end_encoded':
      return 0;
    case 'struct':
    case 'fixed_size_list':
      return 1;
    case 'union':
      return type?.int16(0, 0) === 1 ? 2 : 1;
    case 'binary':
    case 'utf8':
    case 'large_binary':
    case 'large_utf8':
    case 'list_view':
    case 'large_list_view':
      return 3;
    case 'binary_view':
    case 'utf8_view':
      // Each batch says how many buffers they have; no tool writes them into a trace unless it is told to.
      throw new UnsupportedError(`a column of type ${name}`, 'leave that column out, or write it as utf8 or binary');
    case 'int':
    case 'float':
    case 'bool':
    case 'decimal':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'interval':
    case 'fixed_size_binary':
    case 'duration':
    case 'list':
    case 'large_list':
    case 'map':
      return 2;
  }
}
