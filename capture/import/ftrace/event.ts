import { Cursor } from '../cursor.ts';
import type { ImportContext } from '../format.ts';
import type { RowSink } from '../row-sink.ts';
import type { Troubles } from '../troubles.ts';
import { Calls, type CallEnd } from './calls.ts';
import { Fields } from './fields.ts';
import { Inodes } from './inodes.ts';
import { LineHead } from './line-head.ts';
import type { OpenExit, Thread } from './threads.ts';
import { Threads } from './threads.ts';

const NS_PER_S = 1_000_000_000;

/** What became of an event's text. `unusable`: it is not as this event's text should be; `skipped`: it is, and gives no row. */
export type Handled = 'used' | 'skipped' | 'unusable';

/** The event of a line, its cursor behind the event's name (and the colon), its fields not yet begun. */
export type EventHandler = (event: KernelEvent) => Handled;

/** The event that is being read, and what is known from those before: one object for the whole import. */
export class KernelEvent {
  readonly sink: RowSink;
  readonly troubles: Troubles;
  readonly cursor = new Cursor();
  readonly head = new LineHead();
  readonly fields: Fields;
  readonly threads: Threads;
  readonly calls: Calls;
  readonly inodes = new Inodes();
  /** How the call ended whose end is being read. */
  readonly callEnd: CallEnd = {
    ...{ known: true, errno: 0, lo: 0, hi: 0, hasTime: false, seconds: 0, nanoseconds: 0 },
  };
  /** That the event happened in. */
  thread: Thread;

  constructor({ sink, troubles }: ImportContext) {
    this.sink = sink;
    this.troubles = troubles;
    this.fields = new Fields(this.cursor);
    this.threads = new Threads(troubles);
    this.calls = new Calls(sink, troubles);
    this.thread = this.threads.of(0, -1);
  }

  /** Begins a row with what the line's head says. */
  row(op: number): void {
    const { sink, head, thread } = this;
    sink.row(op);
    if (head.hasTime) sink.time(head.seconds, head.nanoseconds);
    if (thread.pid >= 0) sink.pid(thread.pid);
    if (thread.tid >= 0) sink.tid(thread.tid);
    if (thread.vcpu >= 0) sink.vcpu(thread.vcpu);
  }

  /** The last row lasts until `end` is called with the same exit. */
  begin(exit: OpenExit): void {
    const { head } = this;
    exit.row = head.hasTime ? this.sink.rows : 0;
    exit.seconds = head.seconds;
    exit.nanoseconds = head.nanoseconds;
  }

  /** The exit is over now: its row has its duration, if it is not long handed on. */
  end(exit: OpenExit): void {
    const { head } = this;
    if (exit.row === 0) return;
    if (head.hasTime) {
      const ns = (head.seconds - exit.seconds) * NS_PER_S + (head.nanoseconds - exit.nanoseconds);
      if (!this.sink.durNsOf(exit.row, ns)) this.troubles.skip('end of an exit too far from its beginning');
    }
    exit.row = 0;
  }
}
