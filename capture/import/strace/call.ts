import { bytesOf, Cursor } from '../cursor.ts';
import type { ImportContext } from '../format.ts';
import type { RowSink } from '../row-sink.ts';
import type { Troubles } from '../troubles.ts';
import { OTHER_FILE, Paths, UNNUMBERED, type Kind, type OpenFile } from '../processes/files.ts';
import { NO_TID } from '../processes/process.ts';
import { Outcome } from './outcome.ts';
import { Process, Thread, type OpenCall, type Processes } from '../processes/process.ts';

const SPACE = 0x20;
const COMMA_BYTE = 0x2c;
const OPEN_PAREN = 0x28;
const LESS = 0x3c;
const GREATER = 0x3e;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NS_PER_S = 1_000_000_000;

const COMMA = bytesOf(', ');
const DELETED = bytesOf('(deleted)');

/** One call of a log while its rows are made: its arguments from left to right, its outcome, and whose it is. One object serves all calls. */
export class Call {
  readonly sink: RowSink;
  readonly troubles: Troubles;
  readonly processes: Processes;
  /** At the next argument; ends where the arguments do. */
  readonly args = new Cursor();
  readonly outcome = new Outcome();
  thread: Thread = new Thread(NO_TID, new Process());
  /** What the last `descriptor()` read; -1 if it is no file descriptor. */
  fd = -1;
  /** As `OpenCall.closing`. */
  closing: OpenCall['closing'];
  readonly #paths = new Paths();
  #seconds = 0;
  #nanoseconds = 0;
  #timed = false;
  /** From the beginning to the end as lines of their own say it, ns; -1 if they do not. */
  #elapsedNs = -1;
  #files = 0;

  constructor({ sink, troubles }: ImportContext, processes: Processes) {
    this.sink = sink;
    this.troubles = troubles;
    this.processes = processes;
  }

  get process(): Process {
    return this.thread.process;
  }

  /** Begins with the next call, whose arguments are from `start` on. */
  begin(thread: Thread, bytes: Uint8Array, start: number): void {
    this.thread = thread;
    this.closing = undefined;
    this.args.reset(bytes, start, this.outcome.argumentsEnd);
    this.#elapsedNs = -1;
  }

  setTime(timed: boolean, seconds: number, nanoseconds: number): void {
    this.#timed = timed;
    this.#seconds = seconds;
    this.#nanoseconds = nanoseconds;
  }

  /** The time of the line that ends it. */
  setEnd(seconds: number, nanoseconds: number): void {
    this.#elapsedNs = (seconds - this.#seconds) * NS_PER_S + nanoseconds - this.#nanoseconds;
  }

  /** Begins a row with what all rows of calls have; only `result` is left to the caller. */
  row(op: number): RowSink {
    const { sink, outcome } = this;
    this.#begin(op, 0);
    const durNs = this.#durNs();
    if (durNs >= 0) sink.durNs(durNs);
    if (outcome.errno > 0) sink.errno(outcome.errno);
    return sink;
  }

  /** Begins a row of what follows the call: it starts when the call ends, if that is known, and has no duration. */
  rowAtEnd(op: number): RowSink {
    const durNs = this.#durNs();
    if (durNs >= 0) this.#begin(op, durNs);
    else {
      const timed = this.#timed;
      this.#timed = false;
      this.#begin(op, 0);
      this.#timed = timed;
    }
    return this.sink;
  }

  #begin(op: number, laterNs: number): void {
    const { sink, thread } = this;
    sink.row(op);
    if (this.#timed) sink.time(this.#seconds, this.#nanoseconds + laterNs);
    if (thread.tid !== NO_TID) sink.tid(thread.tid);
    if (thread.process.pid !== 0) sink.pid(thread.process.pid);
  }

  #durNs(): number {
    return this.outcome.durNs >= 0 ? this.outcome.durNs : this.#elapsedNs;
  }

  /** Of a call that did not fail 0, as in a recording: a new descriptor's number says nothing, and a mapping's address is a column. */
  result(): void {
    if (this.outcome.succeeded) this.sink.resultNumber(0);
  }

  /** Moves past the comma between two arguments. */
  next(): boolean {
    return this.args.skip(COMMA);
  }

  /** Moves past an argument that does not matter: a number, names, a path in quotes or brackets. */
  skipArgument(): boolean {
    const { args } = this;
    if (args.peek() === QUOTE) return this.#quoted() && this.next();
    if (args.looking(COMMA)) return this.next();
    while (args.find(COMMA_BYTE)) {
      if (this.next()) return true;
      args.at++;
    }
    return false;
  }

  /** What is behind an argument in quotes, a path; undefined: there is none here. */
  path(): { readonly kind: Kind; readonly index: number } | undefined {
    const start = this.args.at + 1;
    if (this.args.peek() !== QUOTE || !this.#quoted()) return undefined;
    return this.#paths.of(this.args, start, this.args.at - 1);
  }

  #quoted(): boolean {
    const { args } = this;
    const { bytes, end } = args;
    for (let at = args.at + 1; at < end; at++) {
      if (bytes[at] === BACKSLASH) at++;
      else if (bytes[at] === QUOTE) {
        args.at = at + 1;
        return true;
      }
    }
    return false;
  }

  /** Reads a file descriptor, with or without the path of `-y`, and finds what it stands for; undefined if that is not known. */
  descriptor(): OpenFile | undefined {
    const { args, process } = this;
    this.fd = -1;
    if (!args.number()) return undefined;
    if (args.hi === 0) this.fd = args.lo;
    const known = process.descriptors.get(this.fd)?.file;
    if (args.peek() !== LESS) return known;
    const start = args.at + 1;
    if (!this.#annotation()) return known;
    const { kind, index } = this.#paths.of(args, start, args.at - 1);
    args.skip(DELETED);
    if (known && isStill(known, kind, index)) return known;
    if (kind === 'other') {
      process.descriptors.delete(this.fd);
      return OTHER_FILE;
    }
    return this.open(this.fd, kind, index);
  }

  /** Moves past "<path>": strace escapes what could end it, but for the arrows and brackets of its own in sockets and devices. */
  #annotation(): boolean {
    const { args } = this;
    const { bytes, end } = args;
    for (let at = args.at + 1; at < end; at++) {
      if (bytes[at] !== GREATER) continue;
      const next = bytes[at + 1];
      if (at + 1 !== end && next !== COMMA_BYTE && next !== OPEN_PAREN && next !== SPACE) continue;
      args.at = at + 1;
      return true;
    }
    return false;
  }

  /** A file of the process that was opened now, or that is seen for the first time. */
  open(fd: number, kind: Kind, index = -1, closeOnExec = kind !== 'memory'): OpenFile {
    const object = UNNUMBERED.has(kind) ? 0 : this.sink.object(`${kind} ${++this.#files}`);
    const vcpu = kind === 'vcpu' ? index : -1;
    const file: OpenFile = { kind, object, vcpu, ...(kind === 'vfio-device' && index >= 0 && { device: index }) };
    this.process.open(fd, file, closeOnExec);
    return file;
  }
}

/** Whether a path of this kind is what the file is known to be. A plain file that was mapped is memory. */
function isStill(known: OpenFile, kind: Kind, index: number): boolean {
  if (kind === 'file') return known.kind === 'file' || known.kind === 'memory';
  return known.kind === kind && (kind !== 'vcpu' || known.vcpu === index || known.vcpu < 0);
}
