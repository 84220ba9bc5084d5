import type { Cursor } from '../cursor.ts';
import type { EventRows } from './event-rows.ts';

const AT = 0x40;
const DOT = 0x2e;
const COLON = 0x3a;
const DASH = 0x2d;
const T = 0x54;
const Z = 0x5a;
const SPACE = 0x20;
const ZERO = 0x30;

/** Reads what QEMU puts before a line with `-msg timestamp=on`. */
export class LogStamp {
  readonly #rows: EventRows;
  #lastDay = -1;
  #lastDaySeconds = 0;

  constructor(rows: EventRows) {
    this.#rows = rows;
  }

  /** Moves the cursor past a timestamp and keeps its time and thread in the rows; else does nothing. */
  read(cursor: Cursor): boolean {
    const first = (cursor.bytes[cursor.at] ?? 0) - ZERO;
    if (first < 0 || first > 9) return false;
    return this.#thread(cursor) || this.#iso(cursor);
  }

  /** `1138@1795207564.588746:` */
  #thread(cursor: Cursor): boolean {
    const start = cursor.at;
    if (cursor.decimal()) {
      const tid = cursor.safe();
      if (cursor.skipByte(AT) && cursor.decimal()) {
        const seconds = cursor.safe();
        const fraction = cursor.at + 1;
        if (cursor.skipByte(DOT) && cursor.decimal() && cursor.at - fraction === 6 && cursor.skipByte(COLON)) {
          this.#rows.tid = tid;
          this.#setTime(seconds, cursor.lo * 1000);
          return true;
        }
      }
    }
    cursor.at = start;
    return false;
  }

  /** `2025-07-21T18:43:28.089797Z `; the fraction is not there if it is 0. */
  #iso(cursor: Cursor): boolean {
    const { bytes, at, end } = cursor;
    if (end - at < 21 || bytes[at + 4] !== DASH || bytes[at + 7] !== DASH || bytes[at + 10] !== T) return false;
    if (bytes[at + 13] !== COLON || bytes[at + 16] !== COLON) return false;
    const year = twoDigits(bytes, at) * 100 + twoDigits(bytes, at + 2);
    const month = twoDigits(bytes, at + 5);
    const day = twoDigits(bytes, at + 8);
    const second = twoDigits(bytes, at + 11) * 3600 + twoDigits(bytes, at + 14) * 60 + twoDigits(bytes, at + 17);
    // NaN where there is no digit.
    if (!(year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31 && second >= 0)) return false;
    let next = at + 19;
    let nanoseconds = 0;
    if (bytes[next] === DOT) {
      let scale = 100_000_000;
      for (next++; next < end; next++, scale /= 10) {
        const digit = (bytes[next] ?? 0) - ZERO;
        if (digit < 0 || digit > 9) break;
        nanoseconds += Math.floor(digit * scale);
      }
    }
    if (next + 1 >= end || bytes[next] !== Z || bytes[next + 1] !== SPACE) return false;
    cursor.at = next + 2;
    this.#setTime(this.#daySeconds(year, month, day) + second, nanoseconds);
    return true;
  }

  #setTime(seconds: number, nanoseconds: number): void {
    const rows = this.#rows;
    rows.hasTime = true;
    rows.seconds = seconds;
    rows.nanoseconds = nanoseconds;
    rows.sink.clock = 'CLOCK_REALTIME';
  }

  /** Seconds since 1970 at the day's start; the day before was most likely the same. */
  #daySeconds(year: number, month: number, day: number): number {
    const key = (year * 16 + month) * 32 + day;
    if (key !== this.#lastDay) {
      this.#lastDay = key;
      this.#lastDaySeconds = Date.UTC(year, month - 1, day) / 1000;
    }
    return this.#lastDaySeconds;
  }
}

function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = (bytes[at] ?? 0) - ZERO;
  const ones = (bytes[at + 1] ?? 0) - ZERO;
  return tens < 0 || tens > 9 || ones < 0 || ones > 9 ? NaN : tens * 10 + ones;
}
