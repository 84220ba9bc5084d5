import { bytesOf, Cursor } from '../cursor.ts';
import type { ImportContext, LineParser } from '../format.ts';
import { Call } from './call.ts';
import { CALLS, type CallKind } from './calls.ts';
import { Leader } from './leader.ts';
import { messageAt, unfinishedAt, UNFINISHED } from './line-ends.ts';
import { Processes, type OpenCall, type Thread } from '../processes/process.ts';

const SPACE = 0x20;
const PLUS = 0x2b;
const MINUS = 0x2d;
const LESS = 0x3c;
const GREATER = 0x3e;
const OPEN_PAREN = 0x28;
const SMALL_S = 0x73;

const MESSAGE = bytesOf('strace: ');
const STACK_FRAME = bytesOf(' > ');
const RESUMED = bytesOf('<... ');
const RESUMED_END = bytesOf(' resumed>');
const EXITED = bytesOf('+++ ');
const SIGNAL = bytesOf('--- ');

/** A call that begins in one line and ends in another has no more text than this; a longer one is left out. */
const MAX_OPEN_BYTES = 4096;
const MAX_OPEN_CALLS = 4096;
/** Room that a thread keeps for its next one. */
const KEPT_BYTES = 1024;

/** Reads what strace wrote, line by line: strace(1), and its source for what the manual does not say. */
export class StraceParser implements LineParser {
  readonly #context: ImportContext;
  readonly #line = new Cursor();
  readonly #leader = new Leader();
  readonly #processes: Processes;
  readonly #call: Call;
  #openCalls = 0;
  #begun = 0;
  /** A thread whose line a message of strace's has cut in two: the rest is the next line. */
  #interrupted: Thread | undefined;

  constructor(context: ImportContext) {
    this.#context = context;
    this.#processes = new Processes(context.troubles);
    this.#call = new Call(context, this.#processes);
  }

  line(bytes: Uint8Array, start: number, end: number): void {
    this.#read(bytes, start, end, false);
  }

  openLine(bytes: Uint8Array, start: number, end: number): void {
    this.#read(bytes, start, end, true);
  }

  #read(bytes: Uint8Array, start: number, end: number, cut: boolean): void {
    if (start === end) return;
    const line = this.#line.reset(bytes, start, end);
    line.openEnd = cut;
    const { troubles } = this.#context;
    const first = bytes[start];
    if (first === SMALL_S && line.looking(MESSAGE)) {
      troubles.skip("message of strace's");
      return;
    }
    if (first === SPACE && line.looking(STACK_FRAME)) {
      troubles.skip('stack frame');
      return;
    }
    if (this.#interrupted && this.#goOn(this.#interrupted, bytes, start, end, cut)) return;
    if (!this.#leader.read(line)) {
      troubles.skip('other output');
      return;
    }
    switch (line.peek()) {
      case LESS: {
        this.#resumed(end, cut);
        return;
      }
      case PLUS: {
        this.#exited();
        return;
      }
      case MINUS: {
        troubles.skip(line.looking(SIGNAL) ? 'signal' : 'other output');
        return;
      }
      default: {
        this.#called(end, cut);
        return;
      }
    }
  }

  /** "name(arguments) = result", or its beginning. */
  #called(end: number, cut: boolean): void {
    const line = this.#line;
    const { troubles } = this.#context;
    const { bytes, at: nameStart } = line;
    const kind = CALLS.read(line);
    if (line.wordEnd === nameStart || line.peek() !== OPEN_PAREN) {
      troubles.skip('other output');
      return;
    }
    this.#settleClock();
    if (!kind) {
      this.#processes.note(this.#leader.tid, false);
      troubles.skip('another system call');
      return;
    }
    const thread = this.#processes.thread(this.#leader.tid);
    if (bytes[end - 1] === GREATER) {
      const textEnd = unfinishedAt(bytes, line.at, end);
      if (textEnd >= 0) {
        this.#begin(thread, kind, nameStart, textEnd);
        return;
      }
    }
    const interruptedAt = messageAt(bytes, line.at, end);
    if (interruptedAt >= 0) {
      this.#interrupted = thread;
      this.#begin(thread, kind, nameStart, interruptedAt);
      return;
    }
    const { seconds, nanoseconds, timed } = this.#leader;
    this.#call.setTime(timed, seconds, nanoseconds);
    this.#ended(thread, kind, bytes, line.at + 1, end, cut);
  }

  /** A call with all its text, which ends here. */
  #ended(thread: Thread, kind: CallKind, bytes: Uint8Array, start: number, end: number, cut: boolean): void {
    const call = this.#call;
    const { outcome } = call;
    outcome.read(bytes, start, end, cut);
    call.begin(thread, bytes, start);
    const { troubles } = this.#context;
    if (!outcome.known) {
      troubles.add(cut ? 'last line without a newline' : 'cut line');
      return;
    }
    if (outcome.errno < 0) {
      troubles.add('unknown errno');
      return;
    }
    kind.ended(call);
  }

  #settleClock(): void {
    if (this.#leader.isSettled) return;
    this.#leader.settle();
    this.#context.sink.clock = this.#leader.clock;
  }

  /** Keeps the text of a call, from its name on, until its end is seen. */
  #begin(thread: Thread, kind: CallKind, nameStart: number, end: number): void {
    const { bytes } = this.#line;
    const { open } = thread;
    const { troubles } = this.#context;
    const length = end - nameStart;
    if (open.order !== 0) {
      troubles.add('call without an end');
      this.#settle(thread);
    }
    if (length > MAX_OPEN_BYTES || this.#openCalls >= MAX_OPEN_CALLS) {
      troubles.add('too much open at once');
      return;
    }
    this.#openCalls++;
    if (open.text.length < length) open.text = new Uint8Array(Math.max(256, length * 2));
    open.text.set(bytes.subarray(nameStart, end));
    open.length = length;
    open.order = ++this.#begun;
    open.seconds = this.#leader.seconds;
    open.nanoseconds = this.#leader.nanoseconds;
    open.timed = this.#leader.timed;
    open.fine = this.#leader.fine;
    open.closing = undefined;
    if (!kind.began) return;
    const call = this.#call;
    call.outcome.read(open.text, 0, 0, true);
    call.outcome.argumentsEnd = length;
    call.begin(thread, open.text, this.#argumentsOf(open));
    kind.began(call);
    open.closing = call.closing;
  }

  /** The rest of a call: "<... name resumed>rest". */
  #resumed(end: number, cut: boolean): void {
    const line = this.#line;
    const { troubles } = this.#context;
    if (!line.skip(RESUMED)) {
      troubles.skip('other output');
      return;
    }
    const kind = CALLS.read(line);
    if (!line.skip(RESUMED_END)) {
      troubles.skip('other output');
      return;
    }
    if (!kind) {
      this.#processes.note(this.#leader.tid, true);
      troubles.skip('another system call');
      return;
    }
    const thread = this.#processes.thread(this.#leader.tid, true);
    const { open } = thread;
    if (open.order === 0 || this.#kindOf(open) !== kind) {
      troubles.add('end of a call without its beginning');
      return;
    }
    const begunLength = open.length;
    if (!this.#append(open, line.bytes, line.at, end)) {
      this.#forget(open);
      troubles.add('too much open at once');
      return;
    }
    this.#finish(thread, kind, begunLength, cut, this.#leader);
  }

  /** The rest of a line that was cut by a message: true if this line is that. */
  #goOn(thread: Thread, bytes: Uint8Array, start: number, end: number, cut: boolean): boolean {
    this.#interrupted = undefined;
    const { open } = thread;
    const probe = this.#call.args.reset(bytes, start, end);
    // Its end comes in a line of its own.
    if (probe.looking(UNFINISHED)) return true;
    const kind = this.#kindOf(open);
    if (open.order === 0 || !kind) return false;
    const { outcome } = this.#call;
    outcome.read(bytes, start, end, cut);
    // A whole line of another call has a name before its parenthesis; the rest of one begins with what is between or behind arguments.
    const byte = bytes[start] ?? 0;
    if (!outcome.known || (byte !== 0x2c && byte !== 0x29 && byte !== 0x7c && byte !== SPACE)) return false;
    const begunLength = open.length;
    if (!this.#append(open, bytes, start, end)) return false;
    this.#finish(thread, kind, begunLength, cut, undefined);
    return true;
  }

  #append(open: OpenCall, bytes: Uint8Array, start: number, end: number): boolean {
    const length = open.length + end - start;
    if (length > MAX_OPEN_BYTES) return false;
    if (open.text.length < length) {
      const grown = new Uint8Array(length * 2);
      grown.set(open.text.subarray(0, open.length));
      open.text = grown;
    }
    open.text.set(bytes.subarray(start, end), open.length);
    open.length = length;
    return true;
  }

  /** Makes the row of a call whose text is complete. */
  #finish(thread: Thread, kind: CallKind, begunLength: number, cut: boolean, ended: Leader | undefined): void {
    const { open } = thread;
    const call = this.#call;
    const start = this.#argumentsOf(open);
    const { text, length, closing, timed, fine } = open;
    call.setTime(timed, open.seconds, open.nanoseconds);
    call.outcome.read(text, start, length, cut);
    if (cut && !call.outcome.known) {
      // The rest may be cut in a number: what was whole before is all that is said of the call.
      open.length = begunLength;
      return;
    }
    this.#forget(open);
    call.begin(thread, text, start);
    call.closing = closing;
    if (!cut && ended?.timed && ended.fine && timed && fine) call.setEnd(ended.seconds, ended.nanoseconds);
    if (!call.outcome.known) {
      this.#context.troubles.add('cut line');
      return;
    }
    if (call.outcome.errno < 0) {
      this.#context.troubles.add('unknown errno');
      return;
    }
    kind.ended(call);
  }

  #forget(open: OpenCall): void {
    if (open.order !== 0) this.#openCalls--;
    open.order = 0;
    open.length = 0;
    if (open.text.length > KEPT_BYTES) open.text = new Uint8Array(0);
  }

  #kindOf(open: OpenCall): CallKind | undefined {
    const probe = this.#call.args.reset(open.text, 0, open.length);
    return CALLS.read(probe);
  }

  #argumentsOf(open: OpenCall): number {
    const probe = this.#call.args.reset(open.text, 0, open.length);
    probe.word();
    return probe.at + 1;
  }

  /** "+++ exited with 0 +++": what the thread was in has no end. */
  #exited(): void {
    const { troubles } = this.#context;
    if (!this.#line.skip(EXITED)) {
      troubles.skip('other output');
      return;
    }
    troubles.skip('end of a thread');
    const thread = this.#processes.thread(this.#leader.tid, true);
    if (thread.open.order !== 0) this.#settle(thread);
    this.#processes.exit(thread.tid);
  }

  /** A row without result and duration for a call that has no end in the log. */
  #settle(thread: Thread): void {
    const { open } = thread;
    const call = this.#call;
    const kind = this.#kindOf(open);
    const start = this.#argumentsOf(open);
    call.outcome.read(open.text, 0, 0, true);
    call.outcome.argumentsEnd = open.length;
    call.setTime(open.timed, open.seconds, open.nanoseconds);
    call.begin(thread, open.text, start);
    call.closing = open.closing;
    this.#forget(open);
    kind?.ended(call);
  }

  end(): void {
    const open = [...this.#processes.threads()].filter((thread) => thread.open.order !== 0);
    for (const thread of open.sort((a, b) => a.open.order - b.open.order)) this.#settle(thread);
  }
}
