/**
 * Reads traces, which are untrusted: whatever the bytes are, reading them gives values within the file or a CvmtraceError, in memory that grows
 * with the number of batches and the size of one column of one batch only.
 */
import { CvmtraceError } from '../../native/index.ts';
import { isValid } from './bitmap.ts';
import {
  readColumnData,
  type ColumnData,
  type ColumnScratch,
  type FixedColumnData,
  type Utf8ColumnData,
} from './column-data.ts';
import { buffersOf, layOutColumns, type ColumnBuffers, type ColumnLayout, type TraceColumn } from './columns.ts';
import { decodeBatch, HeaderType, type ArrowField } from './decode.ts';
import { readDictionaries } from './dictionaries.ts';
import type { Block } from './encode.ts';
import { FileSource } from './file-source.ts';
import { FlatbufferError } from './flatbuffer.ts';
import { parseMetadata } from './metadata-json.ts';
import type { TraceMetadata } from './metadata.ts';
import { METADATA_KEY, TRACE_END, type ArrayOfColumn, type FixedColumnName } from './schema.ts';
import { damaged, readListedMessage, readStructure, type Cut } from './structure.ts';

const FOREIGN_HINT =
  'name a file that cvmtrace wrote; other programs may add columns to it, but not change or remove any';

export interface OpenOptions {
  /** Read a file without a footer (NAME.partial, a torn copy) as far as its batches are complete. */
  readonly allowPartial?: boolean;
}

/** One record batch. */
export interface TraceBatchInfo {
  /** Number in the file of the batch's first row. */
  readonly firstRow: number;
  readonly rows: number;
  readonly block: Block;
  /** Where the buffers are counted from, bytes in the file. */
  readonly bodyOffset: number;
  /** By column, for those that can be read. */
  readonly buffers: ReadonlyMap<string, ColumnBuffers>;
}

/** What the last row of a trace that ended cleanly says. */
export interface TraceEndRow {
  readonly exitStatus: bigint | null;
  readonly lostEvents: bigint | null;
}

export class TraceFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly metadata: TraceMetadata;
  /** In the file's order, also those that this version does not know. */
  readonly columns: readonly TraceColumn[];
  /** Names of operations: the values that `op` indexes. */
  readonly ops: readonly string[];
  readonly batchCount: number;
  /** Messages with the dictionaries' values. */
  readonly dictionaryBlocks: readonly Block[];
  readonly rows: number;
  /** Set if the file has no usable footer: `rows` are then those of the complete batches. */
  readonly truncated: Cut | undefined;
  /** Absent if the last row is not `trace_end`: the capture was cut off, even if the file has been repaired since. */
  readonly end: TraceEndRow | undefined;
  readonly #source: FileSource;
  readonly #layout: ColumnLayout;
  readonly #dictionaries: ReadonlyMap<number, readonly string[]>;
  readonly #blocks: readonly Block[];
  /** First row of each batch, and the number of rows after the last. */
  readonly #firstRows: Float64Array;
  #lastBatch: { readonly index: number; readonly info: TraceBatchInfo } | undefined;

  /**
   * Opens a trace; `close` it.
   * @throws CvmtraceError NO_INPUT if it is not there, IO if it cannot be read, BAD_INPUT if it is not a whole trace of this format.
   */
  static open(path: string, options: OpenOptions = {}): TraceFile {
    const source = FileSource.open(path);
    try {
      return new TraceFile(source, options.allowPartial ?? false);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  private constructor(source: FileSource, allowPartial: boolean) {
    this.#source = source;
    const { path, sizeBytes } = source;
    this.path = path;
    this.sizeBytes = sizeBytes;
    const structure = readStructure(source, allowPartial);
    const { metadataJson, fields } = structure.schema;
    if (metadataJson === undefined) {
      const message = `${path} is an Arrow file but not a trace: its metadata has no key ${METADATA_KEY}`;
      throw new CvmtraceError('BAD_INPUT', message, { path, hint: FOREIGN_HINT });
    }
    this.metadata = parseMetadata(metadataJson, path);
    this.#layout = layOut(path, fields);
    this.columns = this.#layout.columns;
    this.truncated = structure.cut;
    this.#blocks = structure.batches;
    this.batchCount = structure.batches.length;
    this.dictionaryBlocks = structure.dictionaries;
    this.#dictionaries = this.#checked('its dictionary', () =>
      readDictionaries(source, this.dictionaryBlocks, this.columns),
    );
    this.ops = this.dictionary('op');
    this.#firstRows = new Float64Array(this.batchCount + 1);
    for (let i = 0; i < this.batchCount; i++) this.#firstRows[i + 1] = this.#firstRow(i) + this.batch(i).rows;
    this.rows = this.#firstRow(this.batchCount);
    this.end = this.#readEnd();
  }

  /** True if the file has its footer and ends with `trace_end`. */
  get complete(): boolean {
    return this.truncated === undefined && this.end !== undefined;
  }

  column(name: string): TraceColumn | undefined {
    return this.columns.find((column) => column.name === name);
  }

  /** Values of a dictionary column; empty if it has none. */
  dictionary(name: string): readonly string[] {
    return this.#dictionaries.get(this.column(name)?.dictionaryId ?? -1) ?? [];
  }

  /** @throws CvmtraceError BAD_INPUT if the batch is damaged. */
  batch(index: number): TraceBatchInfo {
    if (this.#lastBatch?.index === index) return this.#lastBatch.info;
    const block = this.#blocks[index];
    if (!block) throw new Error(`no batch ${index} in ${this.path}, which has ${this.batchCount}`);
    const info = this.#checked(`batch ${index}`, () => this.#readBatch(index, block));
    this.#lastBatch = { index, info };
    return info;
  }

  /**
   * Reads one column of one batch, and nothing else. With a scratch, its memory is used and the result is valid until its next use.
   * @throws CvmtraceError BAD_INPUT if the values are out of their range, IO if reading fails.
   */
  readColumn<N extends FixedColumnName>(
    batch: number,
    name: N,
    scratch?: ColumnScratch,
  ): FixedColumnData<ArrayOfColumn<N>>;
  readColumn(batch: number, name: 'op', scratch?: ColumnScratch): FixedColumnData<Uint8Array>;
  readColumn(batch: number, name: 'detail', scratch?: ColumnScratch): Utf8ColumnData;
  readColumn(batch: number, name: string, scratch?: ColumnScratch): ColumnData;
  readColumn(batch: number, name: string, scratch?: ColumnScratch): ColumnData {
    const column = this.column(name);
    const info = this.batch(batch);
    const buffers = info.buffers.get(name);
    if (!column || !buffers) throw new Error(`no readable column ${name} in ${this.path}`);
    const dictionarySize = this.dictionary(name).length;
    const place = { column, buffers, rows: info.rows, bodyOffset: info.bodyOffset, dictionarySize };
    return this.#checked(`batch ${batch}`, () => readColumnData(this.#source, place, scratch));
  }

  /** Idempotent; nothing can be read after it. */
  close(): void {
    this.#source.close();
  }

  #readBatch(index: number, block: Block): TraceBatchInfo {
    const message = readListedMessage(this.#source, block, HeaderType.recordBatch);
    const batch = decodeBatch(message.header, this.#layout.nodes, this.#layout.buffers);
    const buffers = new Map<string, ColumnBuffers>();
    for (const column of this.columns)
      if (column.readable) buffers.set(column.name, buffersOf(column, batch, block.bodyLength));
    return {
      firstRow: this.#firstRow(index),
      rows: batch.rows,
      block,
      bodyOffset: block.offset + block.metadataLength,
      buffers,
    };
  }

  #firstRow(index: number): number {
    return this.#firstRows[index] ?? 0;
  }

  #readEnd(): TraceEndRow | undefined {
    let last = this.batchCount - 1;
    while (last >= 0 && this.batch(last).rows === 0) last--;
    if (last < 0) return undefined;
    const row = this.batch(last).rows - 1;
    const { data: ops } = this.readColumn(last, 'op');
    if (this.ops[ops[row] ?? 0] !== 'mark') return undefined;
    const { offsets, bytes } = this.readColumn(last, 'detail');
    if (Buffer.from(bytes.subarray(offsets[row], offsets[row + 1])).toString() !== TRACE_END) return undefined;
    const value = (name: 'len' | 'result'): bigint | null => {
      const { data, validity } = this.readColumn(last, name);
      return isValid(validity, row) ? (data[row] ?? null) : null;
    };
    return { exitStatus: value('result'), lostEvents: value('len') };
  }

  #checked<T>(where: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof FlatbufferError) throw damaged(this.path, where, error);
      throw error;
    }
  }
}

function layOut(path: string, fields: readonly ArrowField[]): ColumnLayout {
  try {
    return layOutColumns(fields);
  } catch (cause) {
    if (!(cause instanceof FlatbufferError)) throw cause;
    throw new CvmtraceError('BAD_INPUT', `${path} is not a trace: ${cause.message}`, {
      path,
      hint: FOREIGN_HINT,
      cause,
    });
  }
}
