import { clockName } from '../clocks.ts';
import { bytesOf, Cursor, wordHash } from '../cursor.ts';
import type { ImportContext, LineParser } from '../format.ts';
import { Calls, type CallEnd } from '../ftrace/calls.ts';
import type { Syscall } from '../ftrace/open-call.ts';
import { SYSCALLS, type KnownSyscall } from '../ftrace/syscall-events.ts';
import { Threads, type Thread } from '../ftrace/threads.ts';
import { vcpuOfName } from '../ftrace/vcpu-name.ts';
import { readArgument } from './perf-trace-arguments.ts';
import { readResult } from './perf-trace-result.ts';
import { NO_TID } from '../processes/process.ts';

const SPACE = 0x20;
const OPEN_PAREN = 0x28;
const CLOSE_PAREN = 0x29;
const COMMA = 0x2c;
const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const LESS = 0x3c;
const GREATER = 0x3e;
const QUESTION = 0x3f;

const MS = bytesOf('ms');
const HEAD_END = bytesOf('): ');
const DOTS = bytesOf('...');
const CONTINUED = bytesOf('... [continued]: ');

const NS_PER_MS = 1_000_000;
const MS_PER_S = 1000;
/** What the last of so many digits behind a point of milliseconds counts. */
const NS_PER_DIGIT = [1e6, 1e5, 1e4, 1e3, 100, 10, 1];
const MAX_ID = 0xffff_ffff;
const MAX_NAME = 64;

const BY_NAME: ReadonlyMap<number, KnownSyscall> = new Map(SYSCALLS.map((call) => [wordHash(call.name), call]));
const FD = wordHash('fd');
const FILENAME = wordHash('filename');

/** Calls whose arguments are all looked at: those that a line leaves out are 0. */
const ZERO_IF_ABSENT: ReadonlySet<Syscall> = new Set<Syscall>([
  ...(['ioctl', 'fallocate', 'madvise', 'mmap', 'munmap', 'close'] as const),
]);

/**
 * Reads `perf trace`: a call per line, its arguments by name, of which perf leaves those out that are 0; what another thread's line came between has its
 * end in a line of its own ("... [continued]: ioctl()) = 0").
 */
export class PerfTraceParser implements LineParser {
  readonly #context: ImportContext;
  readonly #cursor = new Cursor();
  readonly #threads: Threads;
  readonly #calls: Calls;
  readonly #end: CallEnd = { known: true, errno: 0, lo: 0, hi: 0, hasTime: false, seconds: 0, nanoseconds: 0 };
  readonly #unknownEnd: CallEnd = { ...this.#end, known: false };
  #seconds = 0;
  #nanoseconds = 0;
  #hasTime = false;
  /** ns; -1 if the line does not say. */
  #durNs = -1;

  constructor(context: ImportContext) {
    this.#context = context;
    this.#threads = new Threads(context.troubles);
    this.#calls = new Calls(context.sink, context.troubles);
    const { sourceClock } = context.options;
    context.sink.clock = sourceClock === undefined ? 'seconds since the first line' : clockName(sourceClock);
  }

  line(bytes: Uint8Array, start: number, end: number): void {
    const cursor = this.#cursor.reset(bytes, start, end);
    const { troubles } = this.#context;
    cursor.spaces();
    if (cursor.peek() === -1) troubles.skip('empty line');
    else if (!this.#head()) troubles.add('line without a time and a call');
    else this.#call(this.#thread());
  }

  openLine(bytes: Uint8Array, start: number, end: number): void {
    this.#cursor.openEnd = true;
    this.line(bytes, start, end);
    this.#cursor.openEnd = false;
  }

  end(): void {
    for (const thread of this.#threads.all()) this.#settle(thread);
  }

  /** "0.000 ( 0.990 ms): " */
  #head(): boolean {
    const cursor = this.#cursor;
    this.#hasTime = !cursor.skipByte(QUESTION);
    if (this.#hasTime) {
      const ns = this.#milliseconds();
      if (ns < 0) return false;
    }
    cursor.spaces();
    if (!cursor.skipByte(OPEN_PAREN)) return false;
    cursor.spaces();
    this.#durNs = -1;
    if (cursor.peek() !== CLOSE_PAREN) {
      const { at } = cursor;
      if (!cursor.decimal() || cursor.hi !== 0) return false;
      const whole = cursor.lo;
      const fraction = this.#fraction();
      if (fraction < 0) {
        cursor.at = at;
        return false;
      }
      this.#durNs = whole * NS_PER_MS + fraction;
      cursor.spaces();
      if (!cursor.skip(MS)) return false;
    }
    return cursor.skip(HEAD_END);
  }

  /** Time of the line; -1 if there is none. */
  #milliseconds(): number {
    const cursor = this.#cursor;
    if (!cursor.decimal()) return -1;
    const ms = cursor.safe();
    const fraction = this.#fraction();
    if (fraction < 0 || !Number.isSafeInteger(ms)) return -1;
    this.#seconds = Math.floor(ms / MS_PER_S);
    this.#nanoseconds = (ms % MS_PER_S) * NS_PER_MS + fraction;
    return 0;
  }

  /** ".990": ns of a fraction of a millisecond, -1 if there is none. */
  #fraction(): number {
    const cursor = this.#cursor;
    if (!cursor.skipByte(DOT)) return -1;
    const from = cursor.at;
    if (!cursor.decimal() || cursor.hi !== 0) return -1;
    const unit = NS_PER_DIGIT[cursor.at - from];
    return unit === undefined ? -1 : cursor.lo * unit;
  }

  /** "CPU 0/KVM/1234 ", or nothing where there is only one thread. */
  #thread(): Thread {
    const cursor = this.#cursor;
    const { bytes, at: start } = cursor;
    const end = Math.min(cursor.end, start + MAX_NAME);
    for (let at = start; at < end; at++) {
      if (bytes[at] !== SLASH) continue;
      let past = at + 1;
      let tid = 0;
      for (; past < end; past++) {
        const digit = (bytes[past] ?? 0) - ZERO;
        if (digit < 0 || digit > NINE - ZERO) break;
        tid = tid * 10 + digit;
      }
      if (past === at + 1 || bytes[past] !== SPACE || tid > MAX_ID) continue;
      cursor.at = past;
      cursor.spaces();
      const thread = this.#threads.of(tid, -1);
      if (thread.nameLength !== at - start) {
        thread.nameLength = at - start;
        thread.vcpu = vcpuOfName(cursor.text(start, at));
      }
      return thread;
    }
    return this.#threads.of(NO_TID, -1);
  }

  #call(thread: Thread): void {
    const cursor = this.#cursor;
    const { troubles } = this.#context;
    const isContinued = cursor.skip(CONTINUED);
    const hash = cursor.word();
    const syscall = BY_NAME.get(hash);
    if (hash === 0 || !(cursor.peek() === OPEN_PAREN || cursor.peek() === COLON)) {
      troubles.add('line without a time and a call');
    } else if (cursor.peek() === COLON) troubles.skip('event that is no system call (perf script prints it whole)');
    else if (!syscall || !cursor.wordIs(syscall.bytes)) troubles.skip('other system call');
    else if (isContinued) this.#continued(thread, syscall);
    else this.#begun(thread, syscall);
  }

  #begun(thread: Thread, syscall: KnownSyscall): void {
    const cursor = this.#cursor;
    const { call } = thread;
    this.#settle(thread);
    call.begin(syscall.name, this.#hasTime, this.#seconds, this.#nanoseconds);
    cursor.at++;
    if (!this.#arguments(thread, syscall)) {
      // What is missing here is not 0.
      call.syscall = undefined;
      this.#context.troubles.add('arguments of a system call not understood');
      return;
    }
    cursor.spaces();
    if (cursor.skip(DOTS)) return;
    this.#result(thread);
  }

  /** "ioctl())   = 0": the beginning was in an earlier line, or before the first. */
  #continued(thread: Thread, syscall: KnownSyscall): void {
    const cursor = this.#cursor;
    if (thread.call.syscall !== syscall.name) {
      this.#context.troubles.skip('end of a call whose beginning is not there');
      return;
    }
    if (cursor.find(CLOSE_PAREN)) while (cursor.skipByte(CLOSE_PAREN));
    this.#result(thread);
  }

  #result(thread: Thread): void {
    const end = this.#end;
    if (!readResult(this.#cursor, end)) {
      this.#settle(thread);
      return;
    }
    end.hasTime = this.#durNs >= 0 && thread.call.hasTime;
    end.seconds = thread.call.seconds;
    end.nanoseconds = thread.call.nanoseconds + this.#durNs;
    this.#calls.finish(thread, end);
  }

  /** "fd: 5</dev/kvm>, cmd: KVM_RUN)": up to the parenthesis. False if the line ends before. */
  #arguments(thread: Thread, syscall: KnownSyscall): boolean {
    const cursor = this.#cursor;
    const { call } = thread;
    const { arguments: args } = call;
    if (ZERO_IF_ABSENT.has(syscall.name)) for (let i = 0; i < syscall.keys.length; i++) args.set(i, 0, 0);
    while (!cursor.skipByte(CLOSE_PAREN)) {
      const key = cursor.word();
      if (key === 0 || !cursor.skipByte(COLON)) return false;
      cursor.spaces();
      const index = syscall.keys.indexOf(key);
      if (key === FILENAME) call.path = this.#path();
      else if (index >= 0) {
        if (readArgument(cursor, syscall.name, index)) args.set(index, cursor.lo, cursor.hi);
        else args.forget(index);
      }
      if (key === FD && !this.#described(thread, index)) return false;
      if (!this.#skipValue()) return false;
    }
    return true;
  }

  /** "5</dev/kvm>": what the descriptor is of. False if the line ends in it. */
  #described(thread: Thread, index: number): boolean {
    const cursor = this.#cursor;
    const { arguments: args } = thread.call;
    if (!cursor.skipByte(LESS)) return true;
    const start = cursor.at;
    if (!cursor.find(GREATER)) return false;
    if (args.has(index)) this.#calls.describe(thread, args.lo(index), cursor.text(start, cursor.at));
    cursor.at++;
    return true;
  }

  /** A path in quotes, as newer perf prints it. */
  #path(): string | undefined {
    const cursor = this.#cursor;
    const quote = 0x22;
    if (!cursor.skipByte(quote)) return undefined;
    const start = cursor.at;
    return cursor.find(quote) ? cursor.text(start, cursor.at++) : undefined;
  }

  /** Past the rest of a value and the comma behind it, or to the parenthesis that ends the arguments. */
  #skipValue(): boolean {
    const cursor = this.#cursor;
    const { bytes, end } = cursor;
    let depth = 0;
    for (; cursor.at < end; cursor.at++) {
      const byte = bytes[cursor.at];
      if (byte === OPEN_PAREN) depth++;
      else if (byte === CLOSE_PAREN && depth-- === 0) return true;
      else if (byte === COMMA && depth === 0) {
        cursor.at++;
        cursor.spaces();
        return true;
      }
    }
    return false;
  }

  /** A call whose end was not logged: its row has none. */
  #settle(thread: Thread): void {
    if (thread.call.syscall !== undefined) this.#calls.finish(thread, this.#unknownEnd);
  }
}
