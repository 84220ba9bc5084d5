/**
 * The columns of a trace. This table is the only place that lists them: the Arrow schema, the writer, the reader and their types derive from it.
 */
import { Field, Schema } from 'apache-arrow/schema';
import { Dictionary, Int64, Uint16, Uint32, Uint64, Uint8, Utf8, type DataType } from 'apache-arrow/type';

/** Element type of a column in memory and on disk; all little-endian. */
export interface ArrayOfType {
  readonly uint16: Uint16Array;
  readonly uint32: Uint32Array;
  readonly uint64: BigUint64Array;
  readonly int64: BigInt64Array;
}

/** Arrow types that a column of the format can have. `op` holds an index into the file's dictionary of names. */
export type ColumnType = keyof ArrayOfType | 'utf8' | 'dictionary<uint8, utf8>';

interface ColumnSpec {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
  /** Files without it are whole. */
  readonly optional?: true;
  /** One line with the unit. */
  readonly meaning: string;
}

/** The columns in the order in which the writer puts them. */
export const COLUMNS = [
  { name: 'seq', type: 'uint64', nullable: false, meaning: 'order of capture, dense from 0' },
  { name: 'ts_ns', type: 'uint64', nullable: true, meaning: "start, ns since the trace's clock base; null if unknown" },
  {
    name: 'dur_ns',
    type: 'uint64',
    nullable: true,
    meaning: 'ns in the call; for an exit, ns until the vCPU runs again; null if unknown',
  },
  { name: 'pid', type: 'uint32', nullable: true, meaning: 'process that made the call' },
  { name: 'tid', type: 'uint32', nullable: true, meaning: 'thread that made the call' },
  { name: 'vcpu', type: 'uint16', nullable: true, meaning: 'number of the vCPU that it was made for' },
  {
    name: 'op',
    type: 'dictionary<uint8, utf8>',
    nullable: false,
    meaning: 'what was done, by the name the kernel has for it',
  },
  {
    name: 'obj',
    type: 'uint32',
    nullable: true,
    meaning: 'VM, guest_memfd, container or IOAS it was done on; a number that is stable within the trace',
  },
  { name: 'gpa', type: 'uint64', nullable: true, meaning: 'guest-physical address, bytes' },
  { name: 'hva', type: 'uint64', nullable: true, meaning: 'host-virtual address, bytes' },
  { name: 'iova', type: 'uint64', nullable: true, meaning: 'I/O-virtual address, bytes' },
  { name: 'offset', type: 'uint64', nullable: true, meaning: "offset in the object's file or mapping, bytes" },
  {
    name: 'len',
    type: 'uint64',
    nullable: true,
    meaning: 'length of the range, bytes; for lost and trace_end, events lost',
  },
  { name: 'attrs', type: 'uint64', nullable: true, meaning: 'attributes as passed to the call' },
  { name: 'flags', type: 'uint64', nullable: true, meaning: 'flags as passed to the call' },
  {
    name: 'result',
    type: 'int64',
    nullable: true,
    meaning: 'what the call returned or wrote back (bytes unmapped, say); for trace_end, exit status',
  },
  { name: 'errno', type: 'uint16', nullable: false, meaning: 'errno of the call; 0 is success' },
  { name: 'detail', type: 'utf8', nullable: true, meaning: 'name of a mark, or what a row of unknown kind said' },
  {
    name: 'lag_ns',
    type: 'uint64',
    nullable: true,
    optional: true,
    meaning: 'ns by which a paced operation started late against its pacing; only in paced runs',
  },
] as const satisfies readonly ColumnSpec[];

export type Column = (typeof COLUMNS)[number];
export type ColumnName = Column['name'];

/** Columns whose values have a fixed width, so that a typed array of the column's type holds them. */
export type FixedColumn = Extract<Column, { readonly type: keyof ArrayOfType }>;
export type FixedColumnName = FixedColumn['name'];

/** Typed array that holds a column of fixed width. */
export type ArrayOfColumn<N extends FixedColumnName> = ArrayOfType[Extract<FixedColumn, { readonly name: N }>['type']];

/** Columns of fixed width that may be null: what a batch brings beside `op`, `errno` and `detail`. */
export type NullableFixedName = Extract<FixedColumn, { readonly nullable: true }>['name'];

/** Bytes of a value of a fixed-width type. */
export const WIDTH_BYTES: Readonly<Record<keyof ArrayOfType, number>> = { uint16: 2, uint32: 4, uint64: 8, int64: 8 };

/** Key of the schema's metadata that holds the trace's JSON. */
export const METADATA_KEY = 'cvmtrace';

/** Name of the mark that is the last row of a trace that ended cleanly. */
export const TRACE_END = 'trace_end';

/** Arrow's id of the dictionary of operation names in files that cvmtrace writes. */
export const OP_DICTIONARY_ID = 0;

/** The columns that a file has: all, without `lag_ns` unless the run was paced. */
export function columnsOf(paced: boolean): readonly Column[] {
  return COLUMNS.filter((column) => paced || !('optional' in column));
}

/** Arrow schema of a trace with this metadata JSON. */
export function arrowSchema(metadataJson: string, paced: boolean): Schema {
  const fields = columnsOf(paced).map(({ name, type, nullable }) => new Field(name, arrowType(type), nullable));
  return new Schema(fields, new Map([[METADATA_KEY, metadataJson]]));
}

function arrowType(type: ColumnType): DataType {
  switch (type) {
    case 'uint16':
      return new Uint16();
    case 'uint32':
      return new Uint32();
    case 'uint64':
      return new Uint64();
    case 'int64':
      return new Int64();
    case 'utf8':
      return new Utf8();
    case 'dictionary<uint8, utf8>':
      return new Dictionary(new Utf8(), new Uint8(), OP_DICTIONARY_ID);
  }
}
