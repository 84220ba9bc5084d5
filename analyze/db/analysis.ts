import { rmSync } from 'node:fs';
import type { Database } from '@duckdb/node-bindings';
import { CvmtraceError } from '../../native/index.ts';
import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import { chunkRows, type ResultColumn, type Value } from './chunk.ts';
import { copyResult, move, type CopyFormat, type CopyOptions } from './copy-to.ts';
import { READ_IN_ORDER } from './read-trace.ts';
import { makeExpensive } from './expensive.ts';
import { needsExpensive, needsState } from '../state/depends.ts';
import { fillStateTables, walkTrace, type Walked } from '../state/keep-state.ts';
import type { StateSink } from '../state/sink.ts';
import { DEFAULT_LIMITS, type HazardLimits } from '../state/facts.ts';
import type { Walk } from '../state/walk.ts';
import { writeExpensive } from './kept-trace.ts';
import { Interrupt } from './interrupt.ts';
import { assertPermitted, type Permission } from './permitted.ts';
import { writeDatabase } from './write-database.ts';
import { ResultStream, type StatementCheck } from './result-stream.ts';
import { sqlError } from './sql-error.ts';
import { duckdb } from './duckdb.ts';

/** One of the traces of an analysis. Its place in the list is the value of the `trace` column. */
export interface OpenTrace {
  readonly path: string;
  readonly kind: 'arrow' | 'parquet';
  readonly metadata: TraceMetadata;
  readonly rows: number;
  /** False: the file is torn or still being written (what is read ends with its last whole batch), or its capture was cut off. */
  readonly complete: boolean;
  /** Names of operations in it. */
  readonly ops: readonly string[];
}

/** A trace with what SQL needs to read it. */
export interface SelectableTrace extends OpenTrace {
  /** A select of the format's columns. */
  readonly select: string;
}

export interface QueryResult {
  readonly columns: readonly ResultColumn[];
  readonly rows: readonly (readonly Value[])[];
  /** True if `maxRows` cut the result. */
  readonly truncated: boolean;
}

/** What `openAnalysis` hands over; `dispose` frees what is not DuckDB's. */
export interface AnalysisParts {
  readonly database: Database;
  readonly traces: readonly SelectableTrace[];
  readonly scratchDir: string;
  /** SQL may read and write files. */
  readonly allowFiles: boolean;
  /** The expensive tables are there: read from where they were kept. */
  readonly hasExpensive: boolean;
  /** Is called when they have been made. */
  readonly onExpensive: ((analysis: Analysis) => Promise<void>) | undefined;
  /** Is called when a kept file turns out to be damaged; undefined if none is read. */
  readonly onDamage: (() => void) | undefined;
  /** Takes the error of read_trace that DuckDB's text is about, if it is. */
  readonly takeTraceError: (text: string) => CvmtraceError | undefined;
  readonly dispose: () => void;
}

/**
 * DuckDB over some traces: the views of `analyze/sql`, `read_trace(path)` for each, and the table `traces`. Queries may run at the same time, each
 * on a connection of its own, so temporary tables last for one call. Owns a scratch folder; `close` removes it.
 */
export class Analysis {
  readonly traces: readonly OpenTrace[];
  readonly #parts: AnalysisParts;
  /** The queries that are not over, by what stops them. */
  readonly #running = new Map<Interrupt, Promise<ResultStream>>();
  #copies = 0;
  #expensive: Promise<void> | undefined;
  /** The queries are those that make it. */
  #isMaking = false;
  #state: Promise<void> | undefined;
  #closed = false;
  readonly #removeScratch: () => void;

  constructor(parts: AnalysisParts) {
    this.#parts = parts;
    this.traces = parts.traces;
    if (parts.hasExpensive) {
      this.#expensive = Promise.resolve();
      this.#state = Promise.resolve();
    }
    this.#removeScratch = () => rmSync(parts.scratchDir, { recursive: true, force: true });
    process.once('exit', this.#removeScratch);
  }

  /**
   * Runs SQL, several statements if need be, and returns the rows of the last, at most `maxRows`.
   * @throws CvmtraceError USAGE if the SQL is wrong or reaches for files, BAD_INPUT if a trace is damaged, INTERRUPTED, IO, UNAVAILABLE (memory).
   */
  async query(
    sql: string,
    options: { readonly maxRows?: number; readonly permission?: Permission } = {},
  ): Promise<QueryResult> {
    const stream = await this.stream(sql, options.permission);
    const maxRows = options.maxRows ?? Infinity;
    const rows: Value[][] = [];
    try {
      for (let chunk = await stream.next(); chunk !== null; chunk = await stream.next()) {
        for (const row of chunkRows(chunk)) {
          if (rows.length === maxRows) return { columns: stream.columns, rows, truncated: true };
          rows.push(row);
        }
      }
    } finally {
      await stream.close();
    }
    return { columns: stream.columns, rows, truncated: false };
  }

  /**
   * Runs SQL and returns its result as it is computed, in chunks of at most 2048 rows, in bounded memory. Only an
   * `order by` gives an order: DuckDB's threads take turns otherwise. Same errors as `query`, also while it is read.
   */
  async stream(sql: string, permission: Permission = 'ask'): Promise<ResultStream> {
    if (this.#closed) throw new Error('the analysis is closed');
    const interrupt = new Interrupt();
    // Its preparation can be stopped like itself, from now on.
    const opening = Promise.resolve().then(() => this.#open(sql, permission, interrupt));
    this.#running.set(interrupt, opening);
    return opening;
  }

  async #open(sql: string, permission: Permission, interrupt: Interrupt): Promise<ResultStream> {
    const end = (): void => void this.#running.delete(interrupt);
    try {
      // What is kept for later is made once, not by each query that needs it.
      if (this.#parts.onExpensive && !this.#isMaking && needsExpensive(sql)) await this.keepExpensive();
      await this.#prepareState(sql);
      interrupt.check();
    } catch (cause) {
      interrupt.end();
      end();
      throw this.#toError(cause);
    }
    const check: StatementCheck = (type, statements) => {
      if (!this.#parts.allowFiles) assertPermitted(type, sql, statements, permission);
    };
    return ResultStream.open(this.#parts.database, sql, interrupt, check, this.#toError, end);
  }

  /** A select of a trace's rows as its file has them: in the order of seq if cvmtrace wrote it, which is for the caller to check. */
  rowsInOrder(trace: number): string {
    const open = this.#parts.traces[trace];
    if (!open) throw new RangeError(`no trace ${trace} in an analysis of ${this.#parts.traces.length}`);
    return open.select.replace(/^from read_trace\(/, `from ${READ_IN_ORDER}(`);
  }

  /**
   * Writes the result of one query to a file: whole, or not at all. An existing file is replaced.
   * @throws CvmtraceError as `query`, and IO if the file cannot be written.
   */
  async copyTo(sql: string, format: CopyFormat, path: string, options: CopyOptions = {}): Promise<void> {
    await copyResult(this, sql, format, path, `${this.#parts.scratchDir}/out/${this.#copies++}`, options);
  }

  /**
   * Makes the tables that are expensive and that most views are computed from, unless they are there: made by an earlier call, or kept from an
   * earlier analysis. Same errors as `query`; what failed can be tried again.
   */
  keepExpensive(): Promise<void> {
    this.#expensive ??= this.#makeExpensive().catch((cause: unknown) => {
      this.#expensive = undefined;
      throw cause;
    });
    return this.#expensive;
  }

  /**
   * Walks over a trace (`analyze/state`). Where the state tables will be kept for later they are made by the same walk. Same errors as `query`;
   * UNAVAILABLE if more is live at a time than fits in memory.
   * @param begin makes the sink; may be called twice, the first one is then void
   */
  async walk<S extends StateSink>(trace: number, begin: () => S, limits: HazardLimits): Promise<Walked<S>> {
    const isUsual = limits.doublyHeldBytes === null && limits.dmaEntryShare === DEFAULT_LIMITS.dmaEntryShare;
    if (!this.#parts.onExpensive || this.#state || this.traces.length !== 1 || !isUsual)
      return walkTrace(this, trace, begin, limits);
    let sink: S | undefined;
    let walk: Walk | undefined;
    this.#state = this.#fillState(() => (sink = begin()))
      .then((made) => void (walk = made))
      .catch((cause: unknown) => {
        this.#state = undefined;
        throw cause;
      });
    await this.#state;
    if (!sink || !walk) throw new Error('a walk over one trace without a result');
    return { walk, sink };
  }

  /**
   * Writes a DuckDB file for other programs: rows and what is expensive as tables, the library's views and macros over them. Whole, or not at all;
   * an existing file is replaced. Same errors as `copyTo`.
   */
  async writeDatabase(path: string): Promise<void> {
    await this.#toFile(path, (file) => writeDatabase(this, file, `${this.#parts.scratchDir}/spill`));
  }

  /** Writes what is expensive of one trace to a DuckDB file for a later analysis (`KeptTrace`): whole, or not at all. Same errors as `copyTo`. */
  async writeExpensive(trace: number, path: string): Promise<void> {
    await this.#toFile(path, (file) => writeExpensive(this, trace, file));
  }

  async #makeExpensive(): Promise<void> {
    this.#isMaking = true;
    try {
      await makeExpensive(this);
      await this.#parts.onExpensive?.(this);
    } finally {
      this.#isMaking = false;
    }
  }

  /** DuckDB may write into the scratch folder only. */
  async #toFile(path: string, write: (scratch: string) => Promise<void>): Promise<void> {
    const scratch = `${this.#parts.scratchDir}/out/${this.#copies++}`;
    try {
      await write(scratch);
      await move(scratch, path);
    } finally {
      rmSync(scratch, { force: true });
    }
  }

  /** Makes the state tables when SQL first asks for them. */
  async #prepareState(sql: string): Promise<void> {
    // Other rows have another state.
    if (/\bview\s+_trace_rows\b/i.test(sql)) this.#state = undefined;
    if (!needsState(sql)) return;
    this.#state ??= this.#fillState()
      .then(() => undefined)
      .catch((cause: unknown) => {
        this.#state = undefined;
        throw cause;
      });
    await this.#state;
  }

  async #fillState(beside?: () => StateSink): Promise<Walk | undefined> {
    const connection = await duckdb().connect(this.#parts.database);
    try {
      return await fillStateTables(this, connection, beside);
    } finally {
      duckdb().disconnect_sync(connection);
    }
  }

  /** Stops all running queries; they fail with INTERRUPTED. */
  interrupt(): void {
    for (const interrupt of this.#running.keys()) interrupt.request();
  }

  /** Stops what runs and frees everything. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.interrupt();
    for (const opening of await Promise.allSettled(this.#running.values())) {
      if (opening.status === 'fulfilled') await opening.value.close();
    }
    duckdb().close_sync(this.#parts.database);
    this.#parts.dispose();
    process.off('exit', this.#removeScratch);
    this.#removeScratch();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  readonly #toError = (cause: unknown): Error => {
    const text = cause instanceof Error ? cause.message : '';
    if (this.#parts.onDamage && text.includes('Corrupt database file')) {
      this.#parts.onDamage();
      return new CvmtraceError('IO', 'what was kept of the trace in the cache is damaged, and was deleted', {
        hint: 'run the same again: it is made anew from the trace',
        cause,
      });
    }
    return this.#parts.takeTraceError(text) ?? sqlError(cause);
  };
}
