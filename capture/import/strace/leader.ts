import { bytesOf, type Cursor } from '../cursor.ts';
import { NO_TID } from '../processes/process.ts';

const SPACE = 0x20;
const DOT = 0x2e;
const COLON = 0x3a;
const LESS = 0x3c;
const OPEN_PAREN = 0x28;
const OPEN_BRACKET = 0x5b;

const PID = bytesOf('[pid');
const PID_END = bytesOf('] ');
const COMM_END = bytesOf('> ');
const COMMENT = bytesOf('/* ');
const COMMENT_END = bytesOf('*/ ');
const PAREN_END = bytesOf(') ');
const BRACKET_END = bytesOf('] ');

/** PID_MAX_LIMIT: a larger number at the start of a line is a time. */
const MAX_PID = 4_194_304;
/** A time in seconds from here on is one since 1970, below it is one since the line before. */
const EPOCH_FROM = 100_000_000;
const SECONDS_PER_DAY = 86_400;
const NS_PER_S = 1_000_000_000;

type Stamp = 'none' | 'epoch' | 'day' | 'relative';

const CLOCKS: Readonly<Record<Stamp, string>> = {
  none: 'unknown',
  epoch: 'CLOCK_REALTIME',
  day: 'time of day',
  relative: 'seconds since the first line',
};

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

/**
 * What stands before the call in a line of strace: the thread (`-f`, with `-Y` its command), the time (`-r`, `-t`, `-tt`, `-ttt` and the long forms of
 * them), and in brackets what `-n`, `-i` and `--secontext` add. Once a call was seen, all lines have the same kind of time; others are not strace's.
 */
export class Leader {
  tid = NO_TID;
  /** Seconds and ns of the line, as far as `timed`. */
  seconds = 0;
  nanoseconds = 0;
  /** The time is good to a microsecond at least. */
  fine = false;

  #stamp: Stamp = 'none';
  /** Of all lines. */
  #settled: Stamp | undefined;
  #days = 0;
  #lastOfDay = 0;
  /** -r is relative to the line before, of whichever thread (CLOCK_MONOTONIC). */
  #sumSeconds = 0;
  #sumNs = 0;

  get timed(): boolean {
    return this.#stamp !== 'none';
  }

  get clock(): string {
    return CLOCKS[this.#stamp];
  }

  /** This line has a call: all others that have one begin like it. */
  settle(): void {
    this.#settled = this.#stamp;
  }

  get isSettled(): boolean {
    return this.#settled !== undefined;
  }

  /** Moves past it; false if the line is none of strace's. */
  read(cursor: Cursor): boolean {
    this.tid = NO_TID;
    this.#stamp = 'none';
    const indented = cursor.peek() === SPACE;
    cursor.spaces();
    if (cursor.skip(PID)) {
      cursor.spaces();
      if (!cursor.decimal() || cursor.safe() > MAX_PID) return false;
      this.tid = cursor.safe();
      if (!cursor.findPast(PID_END)) return false;
    } else if (!indented && isDigit(cursor.peek()) && !this.#readPid(cursor)) {
      return false;
    }
    cursor.spaces();
    if (isDigit(cursor.peek()) && !this.#readStamp(cursor)) return false;
    if (this.#settled !== undefined && this.#stamp !== this.#settled) return false;
    cursor.spaces();
    if (cursor.peek() === OPEN_PAREN && !cursor.findPast(PAREN_END)) return false;
    while (cursor.peek() === OPEN_BRACKET) if (!cursor.findPast(BRACKET_END)) return false;
    return true;
  }

  /** The plain pid of `-o`, if the number here is not a time. */
  #readPid(cursor: Cursor): boolean {
    const start = cursor.at;
    if (!cursor.decimal()) return false;
    const next = cursor.peek();
    if (cursor.safe() > MAX_PID || (next !== SPACE && next !== LESS)) {
      cursor.at = start;
      return true;
    }
    this.tid = cursor.safe();
    if (next === LESS) return cursor.findPast(COMM_END);
    cursor.spaces();
    return !cursor.looking(COMMENT) || cursor.findPast(COMMENT_END);
  }

  #readStamp(cursor: Cursor): boolean {
    if (!cursor.decimal() || cursor.hi !== 0) return false;
    const whole = cursor.lo;
    if (cursor.peek() === COLON) return this.#readDay(cursor, whole);
    const ns = this.#readFraction(cursor);
    if (ns < 0) return false;
    if (whole >= EPOCH_FROM) {
      this.#stamp = 'epoch';
      this.seconds = whole;
      this.nanoseconds = ns;
      return true;
    }
    this.#stamp = 'relative';
    this.#sumSeconds += whole;
    this.#sumNs += ns;
    if (this.#sumNs >= NS_PER_S) {
      this.#sumNs -= NS_PER_S;
      this.#sumSeconds++;
    }
    this.seconds = this.#sumSeconds;
    this.nanoseconds = this.#sumNs;
    return true;
  }

  /** The rest of HH:MM:SS, with or without a fraction. A step back of more than half a day is midnight. */
  #readDay(cursor: Cursor, hours: number): boolean {
    cursor.at++;
    if (!cursor.decimal()) return false;
    const minutes = cursor.safe();
    if (!cursor.skipByte(COLON) || !cursor.decimal()) return false;
    const seconds = cursor.safe();
    if (hours > 23 || minutes > 59 || seconds > 60) return false;
    const ns = this.#readFraction(cursor);
    if (ns < 0) return false;
    const ofDay = hours * 3600 + minutes * 60 + seconds;
    if (ofDay < this.#lastOfDay - SECONDS_PER_DAY / 2) this.#days++;
    this.#lastOfDay = ofDay;
    this.#stamp = 'day';
    this.seconds = this.#days * SECONDS_PER_DAY + ofDay;
    this.nanoseconds = ns;
    return true;
  }

  /** ns of ".123456" and the like; 0 if there is none; -1 if what follows is no end of a time. */
  #readFraction(cursor: Cursor): number {
    let digits = 0;
    let ns = 0;
    if (cursor.skipByte(DOT)) {
      for (let byte = cursor.peek(); isDigit(byte) && digits < 9; byte = cursor.peek()) {
        ns = ns * 10 + byte - 0x30;
        digits++;
        cursor.at++;
      }
    }
    this.fine = digits >= 6;
    for (let i = digits; i < 9; i++) ns *= 10;
    const next = cursor.peek();
    return next === SPACE || next === 0x29 ? ns : -1;
  }
}
