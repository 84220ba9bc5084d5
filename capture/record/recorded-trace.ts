import { opCode, type RecordedBatch } from '../../native/index.ts';
import type { LeftOutStep, TraceMetadata } from '../trace/metadata.ts';
import { type TraceEnd, TraceWriter } from '../trace/writer.ts';

const MARK = opCode('mark');

/**
 * The trace of a recording. Its metadata stands before the rows, and that no call was seen at all is known only at the end: until the first one,
 * marks wait in memory, and a trace without any is begun anew.
 */
export class RecordedTrace {
  readonly #out: string;
  readonly #force: boolean;
  readonly #metadata: TraceMetadata;
  #writer: TraceWriter;
  #waiting: RecordedBatch[] | undefined = [];

  /** @throws CvmtraceError IO as `TraceWriter.create` */
  constructor(out: string, force: boolean, metadata: TraceMetadata) {
    this.#out = out;
    this.#force = force;
    this.#metadata = metadata;
    this.#writer = TraceWriter.create(out, metadata, { force });
  }

  /** Whether there are rows beside marks. */
  get hasEvents(): boolean {
    return this.#waiting === undefined;
  }

  /** @throws CvmtraceError IO */
  append(batch: RecordedBatch): void {
    if (this.#waiting) {
      if (batch.rows > 0) this.#waiting.push(batch);
      if (batch.op.every((op) => op === MARK)) return;
      this.#appendWaiting(this.#waiting);
    } else {
      this.#writer.append(batch);
    }
  }

  /**
   * Ends the trace and gives it its name.
   * @param leftOut of a trace without events
   * @throws CvmtraceError IO
   */
  async finish(end: TraceEnd, leftOut: readonly LeftOutStep[]): Promise<void> {
    if (this.#waiting) {
      this.#writer.discard();
      this.#writer = TraceWriter.create(this.#out, { ...this.#metadata, leftOut }, { force: this.#force });
      this.#appendWaiting(this.#waiting);
    }
    await this.#writer.finish(end);
  }

  /** Leaves NAME.partial, with what has come. */
  abort(): void {
    try {
      if (this.#waiting) this.#appendWaiting(this.#waiting);
      this.#writer.flush();
    } catch {
      // It cannot be written: there is nothing more to save.
    }
    this.#writer.abort();
  }

  /** Removes it. */
  discard(): void {
    this.#writer.discard();
  }

  #appendWaiting(batches: readonly RecordedBatch[]): void {
    this.#waiting = undefined;
    for (const batch of batches) this.#writer.append(batch);
  }
}
