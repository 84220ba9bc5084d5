import { BATCH_ROWS, type TraceBatch } from '../trace/batch.ts';
import type { NullableFixedName } from '../trace/schema.ts';
import type { TraceEnd } from '../trace/writer.ts';
import { SinkClock } from './sink-clock.ts';
import {
  clearCell,
  clearColumn,
  narrowColumn,
  putNarrow,
  putNumber,
  putWide,
  wideColumn,
  type SinkColumn,
  type WideColumn,
} from './sink-columns.ts';
import type { Troubles } from './troubles.ts';

const TWO_TO_32 = 0x1_0000_0000;

/** Names that a source gives its objects; more have no number, so that memory does not grow with the input. */
const MAX_OBJECTS = 1024 * 1024;

/** Characters of one detail, and of those of one batch. */
const MAX_DETAIL = 4096;
const MAX_BATCH_DETAILS = 16 * 1024 * 1024;

export interface RowSinkOptions {
  /** Takes the rows in batches; the arrays are used again after it returns. */
  readonly consume: (batch: TraceBatch) => void;
  readonly troubles: Troubles;
  /** Rows of a batch at most, a multiple of 8; default: as many as a trace's batch has. Memory is taken for all of them. */
  readonly batchRows?: number;
  /** Added to every time of the source, ns. */
  readonly clockOffsetNs?: bigint;
  /**
   * Says once, before the first batch is handed on, which time of the clock (ns, after the offset) is ts_ns = 0. Default: the earliest of that batch.
   */
  readonly chooseBase?: (clock: string, earliestNs: bigint) => bigint;
}

/**
 * Takes an import's rows, one method call per value, and hands them on in batches of up to 64 Ki rows. A row costs no allocation. 64-bit values are given
 * as two unsigned halves of 32 bits, so that no bigint is made.
 */
export class RowSink {
  /**
   * What the source's clock is: "CLOCK_REALTIME", "CLOCK_MONOTONIC", "ftrace local", "seconds since the first line", "time of day", "unknown". To be set
   * before or with the first time().
   */
  clock = 'unknown';
  /** How the source ended, if it says so: the last row of the trace has it. */
  end: TraceEnd | undefined;

  readonly #consume: (batch: TraceBatch) => void;
  readonly #troubles: Troubles;
  readonly #batchRows: number;
  readonly #op: Uint8Array;
  readonly #errno: Uint16Array;
  readonly #gpa: WideColumn;
  readonly #hva: WideColumn;
  readonly #iova: WideColumn;
  readonly #offset: WideColumn;
  readonly #len: WideColumn;
  readonly #attrs: WideColumn;
  readonly #flags: WideColumn;
  readonly #result: WideColumn;
  readonly #ts: WideColumn;
  readonly #dur: WideColumn;
  readonly #pid: SinkColumn;
  readonly #tid: SinkColumn;
  readonly #obj: SinkColumn;
  readonly #vcpu: SinkColumn;
  readonly #columns: readonly SinkColumn[];
  readonly #detail = new Map<number, string>();
  #detailCharacters = 0;
  /** The current row; -1 before the first of a batch. */
  #at = -1;
  #handedOn = 0;
  readonly #objects = new Map<string, number>();
  readonly #clock: SinkClock;

  constructor({ consume, troubles, batchRows = BATCH_ROWS, clockOffsetNs = 0n, chooseBase }: RowSinkOptions) {
    this.#consume = consume;
    this.#troubles = troubles;
    this.#clock = new SinkClock({
      troubles,
      offsetNs: clockOffsetNs,
      chooseBase: (earliestNs) => chooseBase?.(this.clock, earliestNs) ?? earliestNs,
    });
    this.#batchRows = batchRows;
    this.#op = new Uint8Array(batchRows);
    this.#errno = new Uint16Array(batchRows);
    const wide = (name: NullableFixedName): WideColumn => wideColumn(name, batchRows);
    this.#ts = wide('ts_ns');
    this.#dur = wide('dur_ns');
    this.#pid = narrowColumn('pid', new Uint32Array(batchRows));
    this.#tid = narrowColumn('tid', new Uint32Array(batchRows));
    this.#vcpu = narrowColumn('vcpu', new Uint16Array(batchRows));
    this.#obj = narrowColumn('obj', new Uint32Array(batchRows));
    this.#gpa = wide('gpa');
    this.#hva = wide('hva');
    this.#iova = wide('iova');
    this.#offset = wide('offset');
    this.#len = wide('len');
    this.#attrs = wide('attrs');
    this.#flags = wide('flags');
    this.#result = wide('result');
    this.#columns = [
      ...[this.#ts, this.#dur, this.#pid, this.#tid, this.#vcpu, this.#obj, this.#gpa, this.#hva, this.#iova],
      ...[this.#offset, this.#len, this.#attrs, this.#flags, this.#result],
    ];
  }

  /** Rows so far in the whole import. */
  get rows(): number {
    return this.#handedOn + this.#at + 1;
  }

  /** The clock's ns (after the offset) at ts_ns = 0; null as long as no row has a time. Final once a batch was handed on. */
  get baseNs(): bigint | null {
    return this.#clock.baseNs;
  }

  /** Begins a row: all columns are null, errno is 0. `op` is a code of `OPS`. */
  row(op: number): void {
    if (this.#at + 1 >= this.#batchRows || this.#detailCharacters > MAX_BATCH_DETAILS) this.#handOn();
    const row = ++this.#at;
    this.#op[row] = op;
    this.#errno[row] = 0;
  }

  /** Takes the begun row back. */
  dropRow(): void {
    const row = this.#at--;
    for (const column of this.#columns) clearCell(column, row);
    this.#detail.delete(row);
  }

  gpa(lo: number, hi: number): void {
    putWide(this.#gpa, this.#at, lo, hi);
  }
  hva(lo: number, hi: number): void {
    putWide(this.#hva, this.#at, lo, hi);
  }
  iova(lo: number, hi: number): void {
    putWide(this.#iova, this.#at, lo, hi);
  }
  offset(lo: number, hi: number): void {
    putWide(this.#offset, this.#at, lo, hi);
  }
  len(lo: number, hi: number): void {
    putWide(this.#len, this.#at, lo, hi);
  }
  attrs(lo: number, hi: number): void {
    putWide(this.#attrs, this.#at, lo, hi);
  }
  flags(lo: number, hi: number): void {
    putWide(this.#flags, this.#at, lo, hi);
  }
  /** Two's complement. */
  result(lo: number, hi: number): void {
    putWide(this.#result, this.#at, lo, hi);
  }

  /** A safe integer; may be negative. */
  resultNumber(value: number): void {
    putNumber(this.#result, this.#at, value);
  }

  /** ns; a safe integer from 0. */
  durNs(value: number): void {
    if (value >= 0 && Number.isSafeInteger(value)) putNumber(this.#dur, this.#at, value);
  }

  /**
   * Gives an earlier row its duration, for what has rows of its own in it: an exit is before the calls that a VMM makes for it.
   * @param row what `rows` was when it was the current one
   * @returns false if the row was handed on before, and has none
   */
  durNsOf(row: number, value: number): boolean {
    const at = row - this.#handedOn - 1;
    if (at < 0 || at > this.#at) return false;
    const current = this.#at;
    this.#at = at;
    this.durNs(value);
    this.#at = current;
    return true;
  }

  /** dur_ns of 64 bits. */
  dur(lo: number, hi: number): void {
    putWide(this.#dur, this.#at, lo, hi);
  }

  /** Positive. */
  errno(value: number): void {
    if (value >= 0 && value <= 0xffff) this.#errno[this.#at] = value;
    else this.#troubles.add('errno out of range');
  }

  vcpu(value: number): void {
    if (value >= 0 && value <= 0xffff) putNarrow(this.#vcpu, this.#at, value);
  }
  pid(value: number): void {
    if (value >= 0 && value < TWO_TO_32) putNarrow(this.#pid, this.#at, value);
  }
  tid(value: number): void {
    if (value >= 0 && value < TWO_TO_32) putNarrow(this.#tid, this.#at, value);
  }
  /** A number that `object` returned. */
  obj(value: number): void {
    if (value > 0 && value < TWO_TO_32) putNarrow(this.#obj, this.#at, value);
  }

  /** Text of the row; for rare use, it costs an allocation. */
  detail(text: string): void {
    const kept = text.length > MAX_DETAIL ? text.slice(0, MAX_DETAIL) : text;
    this.#detail.set(this.#at, kept);
    this.#detailCharacters += kept.length;
  }

  /**
   * Start of the row on the source's clock; nanoseconds may be more than a second. ts_ns counts from the earliest time among the first 64 Ki rows:
   * what ends first is often not what began first.
   */
  time(seconds: number, nanoseconds: number): void {
    this.#clock.put(this.#ts, this.#at, seconds, nanoseconds);
  }

  /** ts_ns as it is in the trace, for a source that was one: it counts from a base that only the trace knew. */
  tsNs(lo: number, hi: number): void {
    this.#clock.putTsNs(this.#ts, this.#at, lo, hi);
  }

  /** Number of the object that the source calls `key` ("vm 11", "ioas 3:2" ...): from 1, the same in the whole trace; 0 if there are too many. */
  object(key: string): number {
    let number = this.#objects.get(key);
    if (number === undefined) {
      if (this.#objects.size >= MAX_OBJECTS) {
        this.#troubles.add('more objects than can be numbered');
        return 0;
      }
      number = this.#objects.size + 1;
      this.#objects.set(key, number);
    }
    return number;
  }

  /** Hands the rows on that are left. */
  finish(): void {
    if (this.#at >= 0) this.#handOn();
  }

  #handOn(): void {
    const rows = this.#at + 1;
    this.#clock.settle(this.#ts, rows);
    const used = this.#columns.filter((column) => column.used);
    this.#consume({
      rows,
      op: this.#op,
      errno: this.#errno,
      columns: Object.fromEntries(used.map(({ name, data }) => [name, data])),
      validity: Object.fromEntries(used.map(({ name, validity }) => [name, validity])),
      detail: this.#detail,
    });
    for (const column of used) clearColumn(column);
    this.#detail.clear();
    this.#detailCharacters = 0;
    this.#handedOn += rows;
    this.#at = -1;
  }
}
