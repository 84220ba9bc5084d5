import { CvmtraceError } from '../../native/index.ts';
import { countValid, isValid } from './bitmap.ts';
import { ColumnScratch } from './column-data.ts';
import type { TraceFile } from './reader.ts';
import type { Problem } from './problem.ts';

/** What is counted while the rows are checked. */
export interface RowCounts {
  /** Rows by operation, in the order of the file's dictionary. */
  readonly ops: Readonly<Record<string, number>>;
  readonly threads: number;
  /** Events lost: what `trace_end` says, or the sum of the rows `lost` if that is more. */
  readonly lostEvents: number;
  /** Rows that start before the row before them, of whichever thread: 0 if the whole file is in order of time. */
  readonly outOfOrder: number;
}

/** Rows that sum up a period (native/ops.ts): they start with it, and stand where it ends. */
const SUMS = ['kvm_run', 'exit_other'];

/** Stands for the thread of rows that have none. */
const NO_THREAD = -1;

/** Checks rows batch by batch, in memory that grows only with the number of threads. */
export class RowChecks {
  readonly #file: TraceFile;
  readonly #report: (problem: Problem) => void;
  readonly #scratches = new Map<string, ColumnScratch>();
  readonly #opCounts: Float64Array;
  /** Start of the last row of each thread, ns. */
  readonly #lastTs = new Map<number, number>();
  #lastTsOfAll = 0;
  #lostRows = 0;
  #outOfOrder = 0;
  #nextSeq = 0;

  constructor(file: TraceFile, report: (problem: Problem) => void) {
    this.#file = file;
    this.#report = report;
    this.#opCounts = new Float64Array(file.ops.length);
  }

  counts(): RowCounts {
    const counted = this.#file.ops.flatMap((name, code) => {
      const rows = this.#opCounts[code] ?? 0;
      return rows > 0 ? [[name, rows] as const] : [];
    });
    return {
      ops: Object.fromEntries(counted),
      threads: [...this.#lastTs.keys()].filter((tid) => tid !== NO_THREAD).length,
      lostEvents: Math.max(this.#lostRows, Number(this.#file.end?.lostEvents ?? 0n)),
      outOfOrder: this.#outOfOrder,
    };
  }

  checkBatch(batch: number): void {
    const bad = new Set<string>();
    for (const { name, readable } of this.#file.columns) {
      if (readable && !this.#checkColumn(batch, name)) bad.add(name);
    }
    if (bad.has('seq')) this.#nextSeq = NaN;
    else this.#checkSeq(batch);
    if (!bad.has('op') && !bad.has('len')) this.#countOps(batch);
    if (!bad.has('op') && !bad.has('ts_ns') && !bad.has('tid')) this.#checkTimes(batch);
  }

  /** Reads a column, which checks its values, and counts its nulls; false if it is damaged. */
  #checkColumn(batch: number, name: string): boolean {
    const { firstRow, rows, buffers } = this.#file.batch(batch);
    try {
      const { validity } = this.#file.readColumn(batch, name, this.#scratch(name));
      const said = buffers.get(name)?.nullCount ?? 0;
      const nulls = validity ? rows - countValid(validity, rows) : 0;
      if (nulls !== said) {
        const message = `column ${name} of batch ${batch} has ${nulls} nulls and says ${said}`;
        this.#report({ kind: 'nulls', severity: 'error', message, row: firstRow });
      }
      return true;
    } catch (error) {
      if (!(error instanceof CvmtraceError) || error.code !== 'BAD_INPUT') throw error;
      this.#report({ kind: 'batch', severity: 'error', message: error.message, row: firstRow });
      return false;
    }
  }

  /** One problem for each gap: after it, counting goes on from what was found. */
  #checkSeq(batch: number): void {
    const { firstRow, rows } = this.#file.batch(batch);
    const words = wordsOf(this.#file.readColumn(batch, 'seq', this.#scratch('seq')).data);
    for (let row = 0; row < rows; row++) {
      const seq = wordAt(words, row);
      // After a batch whose seq cannot be read nothing is expected.
      if (seq !== this.#nextSeq && !Number.isNaN(this.#nextSeq)) {
        const message = `seq is ${seq} where ${this.#nextSeq} must be`;
        this.#report({ kind: 'seq', severity: 'error', message, row: firstRow + row });
      }
      this.#nextSeq = seq + 1;
    }
  }

  #countOps(batch: number): void {
    const { data: ops } = this.#file.readColumn(batch, 'op', this.#scratch('op'));
    const lost = this.#file.ops.indexOf('lost');
    let lostRows = 0;
    for (const op of ops) {
      this.#opCounts[op] = (this.#opCounts[op] ?? 0) + 1;
      if (op === lost) lostRows++;
    }
    if (lostRows === 0) return;
    const { data, validity } = this.#file.readColumn(batch, 'len', this.#scratch('len'));
    ops.forEach((op, row) => {
      if (op === lost && isValid(validity, row)) this.#lostRows += Number(data[row] ?? 0n);
    });
  }

  #checkTimes(batch: number): void {
    const { firstRow, rows } = this.#file.batch(batch);
    const { data, validity } = this.#file.readColumn(batch, 'ts_ns', this.#scratch('ts_ns'));
    const words = wordsOf(data);
    const tids = this.#file.readColumn(batch, 'tid', this.#scratch('tid'));
    const ops = this.#file.readColumn(batch, 'op', this.#scratch('op')).data;
    const sums = SUMS.map((name) => this.#file.ops.indexOf(name));
    for (let row = 0; row < rows; row++) {
      if (sums.includes(Number(ops[row]))) continue;
      const tid = isValid(tids.validity, row) ? (tids.data[row] ?? NO_THREAD) : NO_THREAD;
      const before = this.#lastTs.get(tid) ?? 0;
      if (!isValid(validity, row)) {
        this.#lastTs.set(tid, before);
        continue;
      }
      const ts = wordAt(words, row);
      if (ts < this.#lastTsOfAll) this.#outOfOrder++;
      this.#lastTsOfAll = ts;
      this.#lastTs.set(tid, ts);
      if (ts < before) {
        const thread = tid === NO_THREAD ? 'rows without a thread go' : `thread ${tid} goes`;
        const message = `${thread} back in time, from ${before} to ${ts} ns`;
        this.#report({ kind: 'time', severity: 'warning', message, row: firstRow + row });
      }
    }
  }

  #scratch(name: string): ColumnScratch {
    let scratch = this.#scratches.get(name);
    if (!scratch) this.#scratches.set(name, (scratch = new ColumnScratch()));
    return scratch;
  }
}

/** The halves of 64-bit values: BigInts in a loop over all rows would take most of the time. */
function wordsOf(data: BigUint64Array): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.length * 2);
}

/** A value as a number, exact below 2^53 and in order above. */
function wordAt(words: Uint32Array, row: number): number {
  return (words[row * 2 + 1] ?? 0) * 0x1_0000_0000 + (words[row * 2] ?? 0);
}
