/**
 * Writes a trace. While it is being written the file is NAME.partial: a crash leaves every complete batch there, and nothing is ever found under
 * the final name but a whole trace. `recover.ts` makes a trace of what a crash left.
 */
import { closeSync, fsync, openSync, renameSync, rmSync, writevSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { CvmtraceError, opCode, OPS } from '../../native/index.ts';
import { assertBatch, BATCH_ROWS, type CheckedBatch, type TraceBatch } from './batch.ts';
import { arrowSchema, TRACE_END } from './schema.ts';
import {
  encodeFooter,
  encodeOps,
  encodeSchema,
  FILE_START,
  fileEnd,
  type Block,
  type EncodedMessage,
} from './encode.ts';
import { RowEncoder } from './encode-rows.ts';
import { FlushTimer, SYSTEM_CLOCK, type FlushClock } from './flush-timer.ts';
import { metadataProblem } from './metadata-json.ts';
import type { TraceMetadata } from './metadata.ts';
import { PendingRows } from './pending.ts';
import { creationError, refuseExisting, syncFolder, writeError } from './write-error.ts';

/** Appends of at least so many rows are written at once from the caller's arrays; smaller ones are collected first. */
const DIRECT_ROWS = BATCH_ROWS / 8;

/** Text that waits in memory is written when there is more of it: long before the 2 GiB that a batch can have. */
const FLUSH_TEXT_CHARACTERS = 16 * 1024 * 1024;

export interface WriterOptions {
  /** Replace an existing trace of that name when this one is finished. */
  readonly force?: boolean;
  /** The rows have `lag_ns`. */
  readonly paced?: boolean;
  /** Default: the process's clock and timers. */
  readonly clock?: FlushClock;
}

/** What is known only at the end; becomes the last row. */
export interface TraceEnd {
  /** Exit status of what was traced (`result` of the row); null if there is none. */
  readonly exitStatus: number | null;
  /** Events lost in the whole trace (`len` of the row). */
  readonly lostEvents: number;
  /** ns since the clock base; absent if unknown. */
  readonly tsNs?: bigint;
}

export interface WrittenTrace {
  readonly path: string;
  /** With the last row, `trace_end`. */
  readonly rows: number;
  readonly batches: number;
  readonly sizeBytes: number;
}

/** Name of a trace while it is being written. */
export function partialPath(path: string): string {
  return `${path}.partial`;
}

export class TraceWriter {
  /** Name that the trace has when it is finished. */
  readonly path: string;
  readonly #partial: string;
  readonly #force: boolean;
  readonly #paced: boolean;
  readonly #schema: ReturnType<typeof arrowSchema>;
  readonly #encoder: RowEncoder;
  readonly #timer: FlushTimer;
  readonly #dictionaries: Block[] = [];
  readonly #batches: Block[] = [];
  #pending: PendingRows | undefined;
  #fd: number | undefined;
  #position = 0;
  #written = 0;
  #failure: CvmtraceError | undefined;
  #finished = false;

  /**
   * Creates NAME.partial with the schema and the dictionary in it. The caller ends it with `finish`, `abort` or `discard`.
   * @throws CvmtraceError IO if the trace exists (unless `force`), its .partial exists, or it cannot be created.
   */
  static create(path: string, metadata: TraceMetadata, options: WriterOptions = {}): TraceWriter {
    const problem = metadataProblem(metadata);
    if (problem !== undefined) throw new Error(`metadata that no reader would accept: ${problem}`);
    refuseExisting(path, options.force ?? false);
    const partial = partialPath(path);
    let fd: number;
    try {
      fd = openSync(partial, 'wx');
    } catch (cause) {
      throw creationError(path, partial, cause);
    }
    const writer = new TraceWriter(path, fd, metadata, options);
    try {
      writer.#writeHead();
    } catch (error) {
      writer.discard();
      throw error;
    }
    return writer;
  }

  private constructor(path: string, fd: number, metadata: TraceMetadata, { force, paced, clock }: WriterOptions) {
    this.path = path;
    this.#partial = partialPath(path);
    this.#fd = fd;
    this.#force = force ?? false;
    this.#paced = paced ?? false;
    this.#schema = arrowSchema(JSON.stringify(metadata), this.#paced);
    this.#encoder = new RowEncoder(this.#paced);
    this.#timer = new FlushTimer(clock ?? SYSTEM_CLOCK, () => this.#flushFromTimer());
  }

  /** Rows appended so far. */
  get rows(): number {
    return this.#written + (this.#pending?.rows ?? 0);
  }

  /**
   * Appends rows; they are in the file at most 1 s later, if the event loop runs.
   * @throws CvmtraceError IO if writing fails, now or in a flush before; the writer can then only be aborted or discarded.
   */
  append(batch: TraceBatch): void {
    assertBatch(batch, this.#paced);
    this.#append(batch);
    if (this.#timer.isDue()) this.flush();
  }

  #append(batch: TraceBatch): void {
    this.#assertUsable();
    if (batch.rows >= DIRECT_ROWS) {
      this.flush();
      for (let start = 0; start < batch.rows; start += BATCH_ROWS) {
        this.#writeRows(batch, start, Math.min(BATCH_ROWS, batch.rows - start));
      }
    } else if (batch.rows > 0) {
      this.#pending ??= new PendingRows(this.#paced);
      if (this.#pending.rows + batch.rows > BATCH_ROWS) this.flush();
      this.#pending.add(batch);
      this.#timer.start();
      if (this.#pending.textCharacters > FLUSH_TEXT_CHARACTERS) this.flush();
    }
  }

  /** Writes the rows that are still in memory as a batch of their own. */
  flush(): void {
    this.#assertUsable();
    this.#timer.stop();
    const pending = this.#pending;
    if (!pending || pending.rows === 0) return;
    this.#writeRows(pending.batch(), 0, pending.rows);
    pending.clear();
  }

  /**
   * Appends the last row, writes the footer, syncs the file and gives it its name.
   * @throws CvmtraceError IO; NAME.partial then holds all complete batches.
   */
  async finish(end: TraceEnd): Promise<WrittenTrace> {
    this.#append(endBatch(end));
    this.flush();
    this.#writeChunks([fileEnd(encodeFooter(this.#schema, this.#dictionaries, this.#batches))]);
    const fd = this.#assertUsable();
    // From here on nothing can be appended: what came after the footer would be lost.
    this.#fd = undefined;
    try {
      try {
        await promisify(fsync)(fd);
      } finally {
        closeSync(fd);
      }
      refuseExisting(this.path, this.#force);
      renameSync(this.#partial, this.path);
      this.#finished = true;
      syncFolder(dirname(this.path));
    } catch (cause) {
      throw this.#fail(cause);
    }
    return { path: this.path, rows: this.#written, batches: this.#batches.length, sizeBytes: this.#position };
  }

  /** Leaves NAME.partial as it is, as a crash would; rows that were not flushed are lost. No effect after `finish`. */
  abort(): void {
    this.#timer.stop();
    this.#close();
  }

  /** Removes NAME.partial. No effect after `finish`. */
  discard(): void {
    this.abort();
    if (!this.#finished) rmSync(this.#partial, { force: true });
    this.#finished = true;
  }

  #writeHead(): void {
    this.#writeChunks([FILE_START, encodeSchema(this.#schema)]);
    this.#dictionaries.push(this.#writeMessage(encodeOps(OPS)));
  }

  #writeRows(batch: CheckedBatch, start: number, rows: number): void {
    this.#batches.push(this.#writeMessage(this.#encoder.encode(batch, start, rows, this.#written)));
    this.#written += rows;
  }

  #writeMessage({ chunks, metadataLength, bodyLength }: EncodedMessage): Block {
    const offset = this.#position;
    this.#writeChunks(chunks);
    return { offset, metadataLength, bodyLength };
  }

  #writeChunks(chunks: readonly Uint8Array[]): void {
    const fd = this.#assertUsable();
    let rest = chunks;
    try {
      while (rest.length > 0) {
        const count = writevSync(fd, rest);
        this.#position += count;
        rest = afterBytes(rest, count);
      }
    } catch (cause) {
      throw this.#fail(cause);
    }
  }

  #flushFromTimer(): void {
    try {
      this.flush();
    } catch (error) {
      // Nobody is there to catch it; the next append or finish throws it again.
      if (error !== this.#failure) throw error;
    }
  }

  #assertUsable(): number {
    if (this.#failure) throw this.#failure;
    if (this.#fd === undefined) throw new Error(`the writer of ${this.path} is closed`);
    return this.#fd;
  }

  #fail(cause: unknown): CvmtraceError {
    const error = cause instanceof CvmtraceError ? cause : writeError(this.path, this.#partial, cause);
    this.#failure = error;
    this.abort();
    return error;
  }

  #close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    closeSync(fd);
  }
}

/** What is left of a list of chunks after its first `count` bytes; a write may stop in the middle of one. */
function afterBytes(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skip = count;
  let index = 0;
  for (let chunk = chunks[0]; chunk && skip >= chunk.length; chunk = chunks[index]) {
    skip -= chunk.length;
    index++;
  }
  const [first, ...rest] = chunks.slice(index);
  return first ? [first.subarray(skip), ...rest] : [];
}

function endBatch({ exitStatus, lostEvents, tsNs }: TraceEnd): TraceBatch {
  return {
    rows: 1,
    op: Uint8Array.of(opCode('mark')),
    columns: {
      len: BigUint64Array.of(BigInt(lostEvents)),
      ...(exitStatus === null ? {} : { result: BigInt64Array.of(BigInt(exitStatus)) }),
      ...(tsNs === undefined ? {} : { ts_ns: BigUint64Array.of(tsNs) }),
    },
    validity: {},
    detail: new Map([[0, TRACE_END]]),
  };
}
