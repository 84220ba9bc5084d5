import { opCode } from '../../../native/index.ts';
import { clockName } from '../clocks.ts';
import { bytesOf } from '../cursor.ts';
import type { ImportContext, LineParser } from '../format.ts';
import { EventTable } from './event-table.ts';
import { KernelEvent } from './event.ts';
import { settleAll } from './syscall-events.ts';
import { vcpuOfName } from './vcpu-name.ts';

const LOST = opCode('lost');

const SPACE = 0x20;
const TAB = 0x09;
const HASH = 0x23;
const SLASH = 0x2f;

const CPU = bytesOf('CPU:');
const LOST_OPEN = bytesOf(' [LOST ');
const DROPPED_OPEN = bytesOf(' [');
const EVENTS_LOST = bytesOf(' EVENTS]');
const EVENTS_DROPPED = bytesOf(' EVENTS DROPPED]');
const ENTRIES = bytesOf('# entries-in-buffer/entries-written: ');
const CLOCK_ID = bytesOf('# clockid: ');
const TRACE_CLOCK = bytesOf('# clock: ');

/** Reads the text of ftrace, trace-cmd and perf script, which differ only in what stands before the event. */
export class TextParser implements LineParser {
  readonly #event: KernelEvent;
  readonly #table = new EventTable();
  readonly #named: boolean;

  /** @param clock what the source counts time by, if its user does not say and the file does not */
  constructor(context: ImportContext, clock: string) {
    this.#event = new KernelEvent(context);
    const { sourceClock } = context.options;
    this.#named = sourceClock !== undefined;
    context.sink.clock = sourceClock === undefined ? clock : clockName(sourceClock);
  }

  line(bytes: Uint8Array, start: number, end: number): void {
    const event = this.#event;
    const { cursor, head, troubles } = event;
    cursor.reset(bytes, start, end);
    if (head.read(cursor)) {
      event.thread = event.threads.of(head.tid, head.pid);
      if (event.thread.nameLength !== head.nameEnd - head.nameStart) this.#meet();
      this.#table.handle(event);
      if (!head.hasTime) troubles.skip('time that is a counter of an unknown unit');
    } else this.#otherLine();
  }

  openLine(bytes: Uint8Array, start: number, end: number): void {
    this.#event.cursor.openEnd = true;
    this.line(bytes, start, end);
    this.#event.cursor.openEnd = false;
  }

  end(): void {
    settleAll(this.#event);
  }

  /** A thread's first line, or the first with another name: it may say which vCPU it runs. */
  #meet(): void {
    const { cursor, head, thread } = this.#event;
    thread.nameLength = head.nameEnd - head.nameStart;
    thread.vcpu = vcpuOfName(cursor.text(head.nameStart, head.nameEnd));
  }

  /** Comments, stacks, losses. */
  #otherLine(): void {
    const { cursor, troubles } = this.#event;
    const first = cursor.peek();
    if (first === HASH) this.#comment();
    else if (cursor.skip(CPU)) this.#losses();
    // perf prints the frames of a stack below its event, and an empty line behind them; ftrace marks them with "=>".
    else if (first === -1 || first === TAB || isStackFrame(cursor.bytes, cursor.at, cursor.end))
      troubles.skip('line of a stack, or empty');
    else if (isHeader(cursor.text(cursor.at, Math.min(cursor.end, cursor.at + 16)))) troubles.skip('header');
    else if (!this.#bareLine()) troubles.add('line without a thread, a time and an event');
  }

  #bareLine(): boolean {
    const event = this.#event;
    event.cursor.spaces();
    event.head.forget();
    event.thread = event.threads.of(-1, -1);
    return this.#table.handleBare(event);
  }

  #comment(): void {
    const { cursor, troubles, sink } = this.#event;
    if (cursor.skip(ENTRIES)) this.#overwritten();
    else if (!this.#named && (cursor.skip(CLOCK_ID) || cursor.skip(TRACE_CLOCK)) && cursor.word() !== 0) {
      sink.clock = clockName(cursor.text(cursor.wordStart, cursor.wordEnd));
    }
    troubles.skip('comment');
  }

  /** "12/4913": the buffer holds the last 12 of 4913 events, the others were overwritten. */
  #overwritten(): void {
    const { cursor, sink } = this.#event;
    if (!cursor.decimal()) return;
    const kept = cursor.safe();
    if (!cursor.skipByte(SLASH) || !cursor.decimal()) return;
    const lost = cursor.safe() - kept;
    if (!Number.isSafeInteger(lost) || lost <= 0) return;
    sink.row(LOST);
    sink.len(lost, lost / 0x1_0000_0000);
    sink.detail('overwritten in the buffer before');
  }

  /** "CPU:1 [LOST 321 EVENTS]" of ftrace, "CPU:1 [321 EVENTS DROPPED]" of trace-cmd. */
  #losses(): void {
    const { cursor, troubles, sink } = this.#event;
    const isCpu = cursor.decimal();
    if (isCpu && (cursor.skip(LOST_OPEN) || cursor.skip(DROPPED_OPEN)) && cursor.decimal()) {
      const { lo, hi } = cursor;
      if (cursor.skip(EVENTS_LOST) || cursor.skip(EVENTS_DROPPED)) {
        sink.row(LOST);
        sink.len(lo, hi);
        return;
      }
    }
    troubles.add('line without a thread, a time and an event');
  }
}

/** " => do_syscall_64" */
function isStackFrame(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end && bytes[at] === SPACE) at++;
  return at === end || (bytes[at] === 0x3d && bytes[at + 1] === 0x3e);
}

/** What `trace-cmd report` says first. */
function isHeader(text: string): boolean {
  return /^(cpus=\d|version = \d|CPU \d+ is empty|trace-cmd: )/.test(text);
}
