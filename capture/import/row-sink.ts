import type { TraceBatch } from '../trace/batch.ts';
import { BATCH_ROWS } from '../trace/batch.ts';
import { bitmapBytes, isValid } from '../trace/bitmap.ts';
import type { ArrayOfType, NullableFixedName } from '../trace/schema.ts';
import type { TraceEnd } from '../trace/writer.ts';
import type { Troubles } from './troubles.ts';

const TWO_TO_32 = 0x1_0000_0000;
const NS_PER_S = 1_000_000_000;
const NS_PER_S_BIG = BigInt(NS_PER_S);

const BEFORE_BASE = "time before the trace's base";

/** Names that a source gives its objects; more have no number, so that memory does not grow with the input. */
const MAX_OBJECTS = 1024 * 1024;

/** Characters of one detail, and of those of one batch. */
const MAX_DETAIL = 4096;
const MAX_BATCH_DETAILS = 16 * 1024 * 1024;

interface Column {
  readonly name: NullableFixedName;
  readonly data: ArrayOfType[keyof ArrayOfType];
  readonly words: Uint16Array | Uint32Array;
  readonly validity: Uint8Array;
  used: boolean;
}

/** 64-bit column: `words` are the halves, the lower first. */
interface WideColumn extends Column {
  readonly words: Uint32Array;
}

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
  readonly #pid: Column;
  readonly #tid: Column;
  readonly #obj: Column;
  readonly #vcpu: Column;
  readonly #columns: readonly Column[];
  readonly #detail = new Map<number, string>();
  #detailCharacters = 0;
  /** The current row; -1 before the first of a batch. */
  #at = -1;
  #handedOn = 0;

  readonly #objects = new Map<string, number>();

  readonly #offsetNs: bigint;
  readonly #chooseBase: (clock: string, earliestNs: bigint) => bigint;
  /** What ts_ns counts from, on the source's clock. Until `#settled` it is the first time given, and ts_ns can be negative. */
  #originSeconds = 0;
  #originNs = 0;
  #hasOrigin = false;
  #settled = false;

  constructor({ consume, troubles, batchRows = BATCH_ROWS, clockOffsetNs = 0n, chooseBase }: RowSinkOptions) {
    this.#consume = consume;
    this.#troubles = troubles;
    this.#offsetNs = clockOffsetNs;
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
    this.#chooseBase = chooseBase ?? ((_clock, earliestNs) => earliestNs);
  }

  /** Rows so far in the whole import. */
  get rows(): number {
    return this.#handedOn + this.#at + 1;
  }

  /** The clock's ns (after the offset) at ts_ns = 0; null as long as no row has a time. Final once a batch was handed on. */
  get baseNs(): bigint | null {
    if (!this.#hasOrigin) return null;
    return BigInt(this.#originSeconds) * NS_PER_S_BIG + BigInt(this.#originNs) + this.#offsetNs;
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
    for (const { words, validity, data } of this.#columns) {
      validity[row >> 3] = (validity[row >> 3] ?? 0) & ~(1 << (row & 7));
      const width = words.length / data.length;
      words.fill(0, row * width, (row + 1) * width);
    }
    this.#detail.delete(row);
  }

  gpa(lo: number, hi: number): void {
    this.#putWide(this.#gpa, lo, hi);
  }
  hva(lo: number, hi: number): void {
    this.#putWide(this.#hva, lo, hi);
  }
  iova(lo: number, hi: number): void {
    this.#putWide(this.#iova, lo, hi);
  }
  offset(lo: number, hi: number): void {
    this.#putWide(this.#offset, lo, hi);
  }
  len(lo: number, hi: number): void {
    this.#putWide(this.#len, lo, hi);
  }
  attrs(lo: number, hi: number): void {
    this.#putWide(this.#attrs, lo, hi);
  }
  flags(lo: number, hi: number): void {
    this.#putWide(this.#flags, lo, hi);
  }
  /** Two's complement. */
  result(lo: number, hi: number): void {
    this.#putWide(this.#result, lo, hi);
  }

  /** A safe integer; may be negative. */
  resultNumber(value: number): void {
    this.#putNumber(this.#result, value);
  }

  /** ns; a safe integer from 0. */
  durNs(value: number): void {
    if (value >= 0 && Number.isSafeInteger(value)) this.#putNumber(this.#dur, value);
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
    this.#putWide(this.#dur, lo, hi);
  }

  /** Positive. */
  errno(value: number): void {
    if (value >= 0 && value <= 0xffff) this.#errno[this.#at] = value;
    else this.#troubles.add('errno out of range');
  }

  vcpu(value: number): void {
    if (value >= 0 && value <= 0xffff) this.#putNarrow(this.#vcpu, value);
  }
  pid(value: number): void {
    if (value >= 0 && value < TWO_TO_32) this.#putNarrow(this.#pid, value);
  }
  tid(value: number): void {
    if (value >= 0 && value < TWO_TO_32) this.#putNarrow(this.#tid, value);
  }
  /** A number that `object` returned. */
  obj(value: number): void {
    if (value > 0 && value < TWO_TO_32) this.#putNarrow(this.#obj, value);
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
    if (!this.#hasOrigin) {
      if (!Number.isSafeInteger(seconds)) {
        this.#troubles.add('time out of range');
        return;
      }
      this.#originSeconds = seconds;
      this.#originNs = nanoseconds;
      this.#hasOrigin = true;
    }
    const ns = (seconds - this.#originSeconds) * NS_PER_S + (nanoseconds - this.#originNs);
    if (Number.isSafeInteger(ns)) {
      if (ns >= 0 || !this.#settled) this.#putNumber(this.#ts, ns);
      else this.#troubles.add(BEFORE_BASE);
    } else this.#farTime(seconds, nanoseconds);
  }

  /** ts_ns as it is in the trace, for a source that was one: it counts from a base that only the trace knew. */
  tsNs(lo: number, hi: number): void {
    if (this.#offsetNs === 0n) {
      this.#putWide(this.#ts, lo, hi);
      return;
    }
    const ns = ((BigInt(hi) << 32n) | BigInt(lo)) + this.#offsetNs;
    if (ns < 0n || ns !== BigInt.asUintN(64, ns)) this.#troubles.add(BEFORE_BASE);
    else this.#putWide(this.#ts, Number(BigInt.asUintN(32, ns)), Number(ns >> 32n));
  }

  /** More than 104 days from the origin: doubles no longer hold the ns. */
  #farTime(seconds: number, nanoseconds: number): void {
    if (!Number.isSafeInteger(seconds)) {
      this.#troubles.add('time out of range');
      return;
    }
    const ns = (BigInt(seconds) - BigInt(this.#originSeconds)) * NS_PER_S_BIG + BigInt(nanoseconds - this.#originNs);
    if (ns !== BigInt.asIntN(64, ns)) this.#troubles.add('time out of range');
    else if (ns < 0n && this.#settled) this.#troubles.add(BEFORE_BASE);
    else this.#putWide(this.#ts, Number(BigInt.asUintN(32, ns)), Number(BigInt.asUintN(32, ns >> 32n)));
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
    if (!this.#settled) this.#settle();
    const rows = this.#at + 1;
    const used = this.#columns.filter((column) => column.used);
    this.#consume({
      rows,
      op: this.#op,
      errno: this.#errno,
      columns: Object.fromEntries(used.map(({ name, data }) => [name, data])),
      validity: Object.fromEntries(used.map(({ name, validity }) => [name, validity])),
      detail: this.#detail,
    });
    for (const column of used) {
      column.validity.fill(0);
      // Values of rows that are null mean nothing, but the same input should give the same bytes.
      column.words.fill(0);
      column.used = false;
    }
    this.#detail.clear();
    this.#detailCharacters = 0;
    this.#handedOn += rows;
    this.#at = -1;
  }

  /** Moves the origin from the first time that was given to the base. */
  #settle(): void {
    if (!this.#hasOrigin) return;
    const { words, validity } = this.#ts;
    const times = new BigInt64Array(words.buffer, 0, this.#at + 1);
    // Rows without a time are 0, as the first row that has one.
    let earliest = 0n;
    for (const ns of times) if (ns < earliest) earliest = ns;
    const originNs = BigInt(this.#originSeconds) * NS_PER_S_BIG + BigInt(this.#originNs);
    const baseNs = this.#chooseBase(this.clock, originNs + earliest + this.#offsetNs) - this.#offsetNs;
    const shift = originNs - baseNs;
    for (let row = 0; shift !== 0n && row < times.length; row++) {
      if (!isValid(validity, row)) continue;
      const ns = (times[row] ?? 0n) + shift;
      times[row] = ns < 0n ? 0n : ns;
      if (ns >= 0n) continue;
      validity[row >> 3] = (validity[row >> 3] ?? 0) & ~(1 << (row & 7));
      this.#troubles.add(BEFORE_BASE);
    }
    this.#originSeconds = Number(baseNs / NS_PER_S_BIG);
    this.#originNs = Number(baseNs % NS_PER_S_BIG);
    this.#settled = true;
  }

  #putWide(column: WideColumn, lo: number, hi: number): void {
    const row = this.#at;
    const { words, validity } = column;
    words[row * 2] = lo;
    words[row * 2 + 1] = hi;
    validity[row >> 3] = (validity[row >> 3] ?? 0) | (1 << (row & 7));
    column.used = true;
  }

  /** The halves of a safe integer, also of a negative one. */
  #putNumber(column: WideColumn, value: number): void {
    this.#putWide(column, value, Math.floor(value / TWO_TO_32));
  }

  #putNarrow(column: Column, value: number): void {
    const row = this.#at;
    const { words, validity } = column;
    words[row] = value;
    validity[row >> 3] = (validity[row >> 3] ?? 0) | (1 << (row & 7));
    column.used = true;
  }
}

function wideColumn(name: NullableFixedName, rows: number): WideColumn {
  const words = new Uint32Array(rows * 2);
  const data = name === 'result' ? new BigInt64Array(words.buffer) : new BigUint64Array(words.buffer);
  return { name, data, words, validity: new Uint8Array(bitmapBytes(rows)), used: false };
}

function narrowColumn(name: NullableFixedName, data: Uint32Array | Uint16Array): Column {
  return { name, data, words: data, validity: new Uint8Array(bitmapBytes(data.length)), used: false };
}
