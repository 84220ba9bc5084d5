import { isValid } from '../trace/bitmap.ts';
import { clearCell, putNumber, putWide, type WideColumn } from './sink-columns.ts';
import type { Troubles } from './troubles.ts';

const NS_PER_S = 1_000_000_000;
const NS_PER_S_BIG = BigInt(NS_PER_S);

const BEFORE_BASE = "time before the trace's base";
const OUT_OF_RANGE = 'time out of range';

export interface SinkClockOptions {
  readonly troubles: Troubles;
  /** Added to every time of the source, ns. */
  readonly offsetNs: bigint;
  /** Says once which time of the clock (ns, after the offset) is ts_ns = 0. */
  readonly chooseBase: (earliestNs: bigint) => bigint;
}

/** Turns a source's times into ts_ns. */
export class SinkClock {
  readonly #options: SinkClockOptions;
  /** What ts_ns counts from, on the source's clock. Until `#settled` it is the first time given, and ts_ns can be negative. */
  #originSeconds = 0;
  #originNs = 0;
  #hasOrigin = false;
  #settled = false;

  constructor(options: SinkClockOptions) {
    this.#options = options;
  }

  /** The clock's ns (after the offset) at ts_ns = 0; null as long as no row has a time. Final once it is settled. */
  get baseNs(): bigint | null {
    if (!this.#hasOrigin) return null;
    return BigInt(this.#originSeconds) * NS_PER_S_BIG + BigInt(this.#originNs) + this.#options.offsetNs;
  }

  /** Gives a row the time of the source's clock; nanoseconds may be more than a second. */
  put(column: WideColumn, row: number, seconds: number, nanoseconds: number): void {
    if (!this.#hasOrigin && Number.isSafeInteger(seconds) && Number.isSafeInteger(nanoseconds)) {
      this.#originSeconds = seconds;
      this.#originNs = nanoseconds;
      this.#hasOrigin = true;
    }
    const ns = (seconds - this.#originSeconds) * NS_PER_S + (nanoseconds - this.#originNs);
    if (!Number.isSafeInteger(ns) || !this.#hasOrigin) this.#putFar(column, row, seconds, nanoseconds);
    else if (ns >= 0 || !this.#settled) putNumber(column, row, ns);
    else this.#options.troubles.add(BEFORE_BASE);
  }

  /** More than 104 days from the origin: doubles no longer hold the ns. */
  #putFar(column: WideColumn, row: number, seconds: number, nanoseconds: number): void {
    const { troubles } = this.#options;
    if (!Number.isSafeInteger(seconds) || !Number.isSafeInteger(nanoseconds)) {
      troubles.add(OUT_OF_RANGE);
      return;
    }
    const ns = (BigInt(seconds) - BigInt(this.#originSeconds)) * NS_PER_S_BIG + BigInt(nanoseconds - this.#originNs);
    if (ns !== BigInt.asIntN(64, ns)) troubles.add(OUT_OF_RANGE);
    else if (ns < 0n && this.#settled) troubles.add(BEFORE_BASE);
    else putBig(column, row, ns);
  }

  /** Gives a row its ts_ns as the source has it, moved by the offset. */
  putTsNs(column: WideColumn, row: number, lo: number, hi: number): void {
    const { offsetNs, troubles } = this.#options;
    if (offsetNs === 0n) {
      putWide(column, row, lo, hi);
      return;
    }
    const ns = ((BigInt(hi) << 32n) | BigInt(lo)) + offsetNs;
    if (ns < 0n) troubles.add(BEFORE_BASE);
    else if (ns !== BigInt.asUintN(64, ns)) troubles.add(OUT_OF_RANGE);
    else putBig(column, row, ns);
  }

  /** Moves the origin from the first time that was given to the base, and the times of the first `rows` rows with it. Once it has, does nothing. */
  settle(column: WideColumn, rows: number): void {
    if (!this.#hasOrigin || this.#settled) return;
    const { offsetNs, chooseBase, troubles } = this.#options;
    const times = new BigInt64Array(column.words.buffer, 0, rows);
    // Rows without a time are 0, as the first row that has one.
    let earliest = 0n;
    for (const ns of times) if (ns < earliest) earliest = ns;
    const originNs = BigInt(this.#originSeconds) * NS_PER_S_BIG + BigInt(this.#originNs);
    const baseNs = chooseBase(originNs + earliest + offsetNs) - offsetNs;
    const shift = originNs - baseNs;
    for (let row = 0; shift !== 0n && row < rows; row++) {
      if (!isValid(column.validity, row)) continue;
      const ns = (times[row] ?? 0n) + shift;
      if (ns >= 0n) times[row] = ns;
      else {
        clearCell(column, row);
        troubles.add(BEFORE_BASE);
      }
    }
    this.#originSeconds = Number(baseNs / NS_PER_S_BIG);
    this.#originNs = Number(baseNs % NS_PER_S_BIG);
    this.#settled = true;
  }
}

function putBig(column: WideColumn, row: number, ns: bigint): void {
  putWide(column, row, Number(BigInt.asUintN(32, ns)), Number(BigInt.asUintN(32, ns >> 32n)));
}
