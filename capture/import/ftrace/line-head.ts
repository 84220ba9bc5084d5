import type { Cursor } from '../cursor.ts';

const SPACE = 0x20;
const TAB = 0x09;
const HASH = 0x23;
const OPEN_PAREN = 0x28;
const CLOSE_PAREN = 0x29;
const PLUS = 0x2b;
const MINUS = 0x2d;
const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const UNDERSCORE = 0x5f;
const CLOSE_BRACKET = 0x5d;

/** The time stands in the first part of a line, after a task's name (at most 15 bytes, 31 in old perf files), its numbers, a CPU and flags. */
const HEAD_BYTES = 160;

/** ftrace prints 4 flags up to Linux 5.15, 5 since; trace-cmd and perf may print less. */
const MAX_FLAGS = 8;

const MAX_ID = 0xffff_ffff;

/** What the last of so many digits behind a point of seconds counts; ** is slow. */
const NS_PER_DIGIT = [1e9, 1e8, 1e7, 1e6, 1e5, 1e4, 1e3, 100, 10, 1];

/**
 * What stands before the event in a line of ftrace's `trace` and `trace_pipe`, of `trace-cmd report` and of `perf script`:
 *
 *     "  CPU 0/KVM-1234    (   1200) [001] d..1.  22829.421021: kvm_exit: ..."    ftrace; group and flags are options
 *     "  CPU 0/KVM-1234    [001]  22829.421021118: kvm_exit:             ..."    trace-cmd report -t
 *     "  CPU 0/KVM  1200/1234  [001] 22829.421021:       kvm:kvm_exit: ..."    perf script, with -F +pid
 *
 * A task's name can hold blanks, dashes, brackets and colons, so it is read backwards, from the time.
 */
export class LineHead {
  /** The task's name is bytes[nameStart, nameEnd). */
  nameStart = 0;
  nameEnd = 0;
  /** Kernel's PID of the task: the thread. -1 if it is not known. */
  tid = -1;
  /** Its thread group; -1 if the line does not say. */
  pid = -1;
  /** False where the clock counts something else than time (trace_clock "counter", "x86-tsc"). */
  hasTime = false;
  seconds = 0;
  nanoseconds = 0;

  /** For a line without a head. */
  forget(): void {
    this.tid = -1;
    this.pid = -1;
    this.hasTime = false;
  }

  /** Reads the head and leaves the cursor at the event's name. False (the cursor not moved) if the line has no such head. */
  read(cursor: Cursor): boolean {
    const { bytes, at: start } = cursor;
    const end = Math.min(cursor.end, start + HEAD_BYTES) - 1;
    for (let at = start + 1; at < end; at++) {
      if (bytes[at] !== COLON || bytes[at + 1] !== SPACE || !isDigit(bytes[at - 1])) continue;
      if (!this.#readBackwards(bytes, start, at)) continue;
      cursor.at = at + 1;
      cursor.spaces();
      skipTimeDifference(cursor);
      if (isLetter(cursor.peek())) return true;
      // It was part of a task's name.
      cursor.at = start;
    }
    return false;
  }

  /** @param colon place of the colon behind the time */
  #readBackwards(bytes: Uint8Array, start: number, colon: number): boolean {
    let at = this.#time(bytes, start, colon);
    if (at < 0) return false;
    at = skipBlanks(bytes, start, at);
    if (at > start && bytes[at - 1] !== CLOSE_BRACKET) at = skipFlags(bytes, start, at);
    if (at > start && bytes[at - 1] === CLOSE_BRACKET) {
      at = skipCpu(bytes, start, at);
      if (at < 0) return false;
    }
    return this.#task(bytes, start, skipBlanks(bytes, start, at));
  }

  /** "22829.421021" or "22829.421021118", or without a point the ticks of some other clock. Returns where it begins, or -1. */
  #time(bytes: Uint8Array, start: number, end: number): number {
    let at = digitsBefore(bytes, start, end);
    const hasPoint = at > start && bytes[at - 1] === DOT;
    const fractionDigits = end - at;
    this.hasTime = hasPoint && fractionDigits <= 9;
    if (hasPoint) {
      this.nanoseconds = valueOf(bytes, at, end) * (NS_PER_DIGIT[fractionDigits] ?? 0);
      const point = at - 1;
      at = digitsBefore(bytes, start, point);
      if (at === point) return -1;
      this.seconds = valueOf(bytes, at, point);
      this.hasTime &&= Number.isSafeInteger(this.seconds);
    }
    return at > start && isBlank(bytes[at - 1]) ? at : -1;
  }

  /** "NAME-TID", "NAME-TID (PID)", "NAME TID" or "NAME PID/TID", ending at `end`. */
  #task(bytes: Uint8Array, start: number, end: number): boolean {
    let at = end;
    this.pid = -1;
    if (at > start && bytes[at - 1] === CLOSE_PAREN) {
      const digits = digitsBefore(bytes, start, at - 1);
      if (digits < at - 1) this.pid = idOf(bytes, digits, at - 1);
      // Dashes stand for a group that ftrace has not noted.
      let open = digits;
      while (open > start && (isBlank(bytes[open - 1]) || bytes[open - 1] === MINUS)) open--;
      if (open === start || bytes[open - 1] !== OPEN_PAREN) return false;
      at = skipBlanks(bytes, start, open - 1);
    }
    const digits = digitsBefore(bytes, start, at);
    if (digits === at || digits === start) return false;
    this.tid = idOf(bytes, digits, at);
    const before = bytes[digits - 1];
    if (before === MINUS && this.tid === 1 && isBlank(bytes[digits - 2])) {
      // perf prints -1 for a thread that it does not know.
      this.tid = -1;
      this.#name(bytes, start, digits - 1);
      return true;
    }
    if (before === MINUS) this.#name(bytes, start, digits - 1);
    else if (isBlank(before)) this.#name(bytes, start, digits);
    else if (before === SLASH) {
      const group = digitsBefore(bytes, start, digits - 1);
      if (group === digits - 1 || group === start || !isBlank(bytes[group - 1])) return false;
      this.pid = idOf(bytes, group, digits - 1);
      this.#name(bytes, start, group);
    } else return false;
    return this.tid >= 0;
  }

  #name(bytes: Uint8Array, start: number, end: number): void {
    this.nameEnd = skipBlanks(bytes, start, end);
    this.nameStart = start;
    while (this.nameStart < this.nameEnd && isBlank(bytes[this.nameStart])) this.nameStart++;
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

function isLetter(byte: number): boolean {
  return ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a) || byte === UNDERSCORE;
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB;
}

function digitsBefore(bytes: Uint8Array, start: number, end: number): number {
  let at = end;
  while (at > start && isDigit(bytes[at - 1])) at--;
  return at;
}

function skipBlanks(bytes: Uint8Array, start: number, end: number): number {
  let at = end;
  while (at > start && isBlank(bytes[at - 1])) at--;
  return at;
}

/** Exact below 2^53. */
function valueOf(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 10 + ((bytes[at] ?? ZERO) - ZERO);
  return value;
}

function idOf(bytes: Uint8Array, from: number, to: number): number {
  const value = valueOf(bytes, from, to);
  return value <= MAX_ID ? value : -1;
}

/**
 * Past a word of flags ("d..1.", "DBZff") that stands behind a CPU, or has it in front of it ("1d..1.", the latency format of ftrace and trace-cmd);
 * else not moved.
 */
function skipFlags(bytes: Uint8Array, start: number, end: number): number {
  let at = end;
  let digits = 0;
  while (at > start && end - at <= MAX_FLAGS && !isBlank(bytes[at - 1])) {
    const byte = bytes[at - 1] ?? 0;
    if (isDigit(byte)) digits++;
    else if (byte !== DOT && byte !== HASH && !isLetter(byte)) return end;
    at--;
  }
  const before = skipBlanks(bytes, start, at);
  if (before === at || before === start) return end;
  const hasCpu = isDigit(bytes[at]) && digits < end - at;
  return hasCpu || bytes[before - 1] === CLOSE_BRACKET ? before : end;
}

/** Past "[001]", or -1. */
function skipCpu(bytes: Uint8Array, start: number, end: number): number {
  const digits = digitsBefore(bytes, start, end - 1);
  return digits < end - 1 && digits > start && bytes[digits - 1] === OPEN_BRACKET ? digits - 1 : -1;
}

/** `trace-cmd report --ts-diff` prints "(+26)" behind the time. */
function skipTimeDifference(cursor: Cursor): void {
  const { at } = cursor;
  if (!cursor.skipByte(OPEN_PAREN)) return;
  if (cursor.skipByte(PLUS) && cursor.decimal() && cursor.skipByte(CLOSE_PAREN)) cursor.spaces();
  else cursor.at = at;
}
