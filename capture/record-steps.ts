/**
 * Records operations step by step into one trace: for what has to look at the rows of one step before it knows the next, such as undoing what a
 * failed map left behind. Where the operations are known beforehand, `record-requests.ts` is for that.
 */
import {
  CvmtraceError,
  type ExecutedBatch,
  type ExecuteOptions,
  type Native,
  type NativeSession,
  type NullableColumns,
  OpBatch,
  type OpName,
  OPS,
  PACKAGE_VERSION,
} from '../native/index.ts';
import { type RunMetadata, wallOffsetNs } from './record-requests.ts';
import { isValid } from './trace/bitmap.ts';
import { FORMAT_VERSION, type KnownMetadata, type TraceMetadata } from './trace/metadata.ts';
import { TraceWriter } from './trace/writer.ts';

/** One executed operation. Numbers are exact below 2^53. */
export interface StepRow {
  readonly op: OpName;
  /** 0 = success. */
  readonly errno: number;
  /** "ENOENT"; "" for 0. */
  readonly errnoName: string;
  /** As of the trace's column; null for an operation that failed, mostly. */
  readonly result: number | null;
  /** ns since the trace's clock base. */
  readonly tsNs: number;
  /** ns; 0 if unknown. */
  readonly durNs: number;
  readonly iova: number | null;
  /** Bytes. */
  readonly len: number | null;
}

export interface StepRecording {
  readonly native: Native;
  /** The trace's final name. */
  readonly out: string;
  readonly force: boolean;
  readonly metadata: RunMetadata & Pick<KnownMetadata, 'backend' | 'dma' | 'leftOut'>;
  readonly signal: AbortSignal;
}

/** Exit status in the last row of a trace that the user interrupted: 128 + SIGINT. */
const INTERRUPTED = 130;

/**
 * Opens a session and a trace, lets `body` execute steps, and ends the trace with the exit status that `body` returns. An interrupt ends it cleanly:
 * what has run is a whole trace. If it cannot be written, NAME.partial stays for `recover`.
 * @throws CvmtraceError IO if the trace exists or cannot be written, INTERRUPTED, and what `body` throws.
 */
export async function recordSteps(
  recording: StepRecording,
  body: (recorder: StepRecorder) => Promise<number>,
): Promise<void> {
  const recorder = await StepRecorder.open(recording);
  const stop = (): void => recorder.cancel();
  recording.signal.addEventListener('abort', stop);
  try {
    await recorder.finish(await body(recorder));
  } catch (error) {
    const code = error instanceof CvmtraceError ? error.code : undefined;
    if (code === 'INTERRUPTED') await recorder.finish(INTERRUPTED);
    else if (code === 'IO') recorder.abort();
    else recorder.discard();
    throw error;
  } finally {
    recording.signal.removeEventListener('abort', stop);
    await recorder.close();
  }
}

export class StepRecorder {
  readonly #native: Native;
  readonly #signal: AbortSignal;
  readonly #writer: TraceWriter;
  readonly #clockBaseNs: bigint;
  #session: NativeSession;

  static async open({ native, out, force, metadata, signal }: StepRecording): Promise<StepRecorder> {
    const session = native.createSession();
    try {
      const complete: TraceMetadata = {
        ...metadata,
        format: FORMAT_VERSION,
        tool: { name: 'cvmtrace', version: PACKAGE_VERSION },
        clock: {
          name: 'CLOCK_MONOTONIC',
          baseNs: String(session.clockBaseNs),
          wallOffsetNs: String(wallOffsetNs()),
        },
        pacing: { mode: 'asap', factor: 1 },
      };
      return new StepRecorder(native, signal, session, TraceWriter.create(out, complete, { force }));
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  private constructor(native: Native, signal: AbortSignal, session: NativeSession, writer: TraceWriter) {
    this.#native = native;
    this.#signal = signal;
    this.#session = session;
    this.#writer = writer;
    this.#clockBaseNs = session.clockBaseNs;
  }

  /**
   * Executes the operations, appends their rows to the trace and returns them: fewer than asked for if `stopAtFailure` ended it.
   * @throws CvmtraceError INTERRUPTED, IO
   */
  async step(batch: OpBatch, options: ExecuteOptions = {}): Promise<StepRow[]> {
    const executed = await this.#session.execute(batch.words, options);
    const shiftNs = this.#session.clockBaseNs - this.#clockBaseNs;
    const rows = { ...executed, columns: { ...executed.columns, ts_ns: shifted(executed, shiftNs) } };
    this.#writer.append({ ...rows, detail: batch.details, pid: process.pid });
    if (this.#signal.aborted) throw new CvmtraceError('INTERRUPTED', 'interrupted');
    return Array.from({ length: rows.rows }, (_, row) => this.#row(rows, row));
  }

  /** A phase begins, or something is to be said in the trace. */
  async mark(text: string): Promise<void> {
    const batch = new OpBatch(1);
    batch.push('mark', {}, text);
    await this.step(batch);
  }

  /** Closes every kernel object and begins anew in the same trace. Numbers of objects must not be used again. */
  async renew(): Promise<void> {
    await this.#session.close();
    this.#session = this.#native.createSession();
  }

  /** Bytes of the object's file in memory; null where the kernel cannot tell (Linux before 6.5, hugetlb). */
  residentBytes(obj: number): number | null {
    try {
      return this.#session.residentBytes(obj);
    } catch (error) {
      if (error instanceof Error && 'code' in error && (error.code === 'ENOSYS' || error.code === 'EOPNOTSUPP'))
        return null;
      throw error;
    }
  }

  cancel(): void {
    this.#session.cancel();
  }

  async finish(exitStatus: number): Promise<void> {
    const tsNs = process.hrtime.bigint() - this.#clockBaseNs;
    await this.#writer.finish({ exitStatus, lostEvents: 0, tsNs });
  }

  abort(): void {
    this.#writer.abort();
  }

  discard(): void {
    this.#writer.discard();
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  #row({ op, errno, columns, validity }: ExecutedBatch, row: number): StepRow {
    const value = (name: Exclude<keyof NullableColumns, 'lag_ns'>): number | null =>
      isValid(validity[name], row) ? Number(columns[name][row]) : null;
    const error = errno[row] ?? 0;
    return {
      op: OPS[op[row] ?? 0] ?? 'mark',
      errno: error,
      errnoName: error === 0 ? '' : this.#native.errnoName(error),
      result: value('result'),
      tsNs: value('ts_ns') ?? 0,
      durNs: value('dur_ns') ?? 0,
      iova: value('iova'),
      len: value('len'),
    };
  }
}

/** Starts of a session that began later than the trace, in the trace's time. */
function shifted({ columns, rows }: ExecutedBatch, shiftNs: bigint): BigUint64Array {
  if (shiftNs === 0n) return columns.ts_ns;
  return columns.ts_ns.slice(0, rows).map((tsNs) => tsNs + shiftNs);
}
