/**
 * QEMU's trace backend "log" (the default of distributions): `name args` a line, with `-msg timestamp=on` after `TID@SECONDS.MICROSECONDS:` (up to 10.0)
 * or `2025-07-21T18:43:28.089797Z ` (from 10.1). Messages of QEMU and of what runs in it are between them, and may be in the same line.
 */
import { bytesOf, Cursor, isWordByte } from '../cursor.ts';
import type { ImportContext, LineFormat, LineParser } from '../format.ts';
import { headLines } from '../head-lines.ts';
import { QEMU_EVENT_TABLE, QEMU_EVENTS } from './events.ts';
import { EventRows } from './event-rows.ts';
import { LogStamp } from './log-stamp.ts';

const ESCAPE = 0x1b;
const SPACE = 0x20;
const OPEN = 0x28;

export const qemuLogFormat: LineFormat = {
  name: 'qemu-log',
  summary: "QEMU's -trace output (backend log), with and without -msg timestamp=on",
  madeBy: "-trace 'kvm_*' -trace 'vfio_*' -trace 'iommufd_*' -trace 'ram_block_*' -msg timestamp=on -D LOG",
  kind: 'lines',
  detect,
  open: (context) => new QemuLogParser(context),
};

const STAMPED = /^(?:\d+@\d+\.\d{6}:|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z )([a-z][a-z0-9_]*)(?: |$)/;
const NAMES: ReadonlySet<string> = new Set(QEMU_EVENTS.map(({ name }) => name));

function detect(head: Uint8Array): number {
  let sure = 0;
  for (const line of headLines(head)) {
    const text = line.replace(/\x1b\[[0-9;]*m/g, '');
    const name = STAMPED.exec(text)?.[1];
    if (/^\d+@\d+\.\d{6}:[a-z]/.test(text)) return 100;
    if (name !== undefined && NAMES.has(name)) return 100;
    if (name !== undefined) sure = Math.max(sure, 60);
    if (/^[a-z][a-z0-9_]* /.test(text) && NAMES.has(text.slice(0, text.indexOf(' ')))) return 90;
    // In the middle of another message.
    if (/\b(?:vfio_(?:container_)?dma_(?:un)?map ?\(0x|VFIO_(?:UN)?MAP_DMA failed: )/.test(text))
      sure = Math.max(sure, 80);
    if (/ (?:kvm_convert_memory|kvm_memory_fault) start 0x/.test(text)) sure = Math.max(sure, 80);
    if (/^(?:\S+Z )?qemu-[a-z0-9_-]+: /.test(text)) sure = Math.max(sure, 40);
  }
  return sure;
}

class QemuLogParser implements LineParser {
  readonly #context: ImportContext;
  readonly #rows: EventRows;
  readonly #cursor = new Cursor();
  readonly #stamp: LogStamp;

  constructor(context: ImportContext) {
    this.#context = context;
    this.#rows = new EventRows(context);
    this.#stamp = new LogStamp(this.#rows);
  }

  line(bytes: Uint8Array, start: number, end: number, lineNumber: number): void {
    if (start === end) return;
    const cursor = this.#cursor.reset(bytes, start, end);
    this.#rows.tid = -1;
    this.#rows.hasTime = false;
    const stamped = this.#stamp.read(cursor);
    const result = this.#event();
    if (result === 'row' && cursor.at === cursor.end) return;
    if (result === 'other' && stamped && this.#isEventName()) {
      // The rest of its arguments may hold any text, but hardly another event.
      this.#context.troubles.skip('other trace event', lineNumber);
      return;
    }
    this.#search(bytes, start, end, result);
  }

  openLine(bytes: Uint8Array, start: number, end: number, lineNumber: number): void {
    this.#cursor.openEnd = true;
    this.line(bytes, start, end, lineNumber);
  }

  end(): void {
    // An event is one line: nothing is open.
  }

  /** Reads an event at the cursor. `other`: none of ours is here; `cut`: one of ours, with arguments that no version of it has. */
  #event(): 'row' | 'other' | 'cut' {
    const cursor = this.#cursor;
    const event = QEMU_EVENT_TABLE.find(cursor.word(), cursor);
    if (!event) return 'other';
    const next = cursor.peek();
    if (next !== SPACE && next !== OPEN) return next < 0 ? 'cut' : 'other';
    cursor.spaces();
    const start = cursor.at;
    for (const form of event.forms) {
      cursor.at = start;
      if (!form.read(cursor, this.#rows.args)) continue;
      event.emit(this.#rows);
      cursor.spaces();
      return 'row';
    }
    cursor.at = start;
    // Without a timestamp it may be a sentence about it.
    if (!this.#rows.hasTime && !event.forms.some((form) => form.beginsAt(cursor))) return 'other';
    this.#context.troubles.add(`${event.name} with other arguments, or cut`);
    return 'cut';
  }

  #isEventName(): boolean {
    const cursor = this.#cursor;
    const next = cursor.peek();
    return cursor.wordEnd > cursor.wordStart && (next < 0 || next === SPACE);
  }

  /** Looks for events in the rest of a line that is a message, or that two threads wrote into. */
  #search(bytes: Uint8Array, start: number, end: number, before: 'row' | 'other' | 'cut'): void {
    const cursor = this.#cursor;
    let found = before !== 'other';
    // From the start again, unless there was something: the timestamp may belong to the message that is there.
    let at = found ? cursor.at : start;
    while (at < end) {
      const byte = bytes[at] ?? 0;
      if (byte === ESCAPE) {
        const stripped = withoutEscapes(bytes, at, end);
        // What was before is done.
        if (stripped.length < end - at) {
          this.#searchStripped(stripped, found);
          return;
        }
      }
      if (!isWordByte(byte)) {
        at++;
        continue;
      }
      cursor.reset(bytes, at, end);
      if (found) {
        // Another thread's: what stands before the line is not its time.
        this.#rows.hasTime = false;
        this.#rows.tid = -1;
      }
      this.#stamp.read(cursor);
      const result = this.#event();
      if (result !== 'other') found = true;
      at = Math.max(cursor.at, at + 1);
      while (result === 'other' && at < end && isWordByte(bytes[at] ?? 0) && isWordByte(bytes[at - 1] ?? 0)) at++;
    }
    if (!found) this.#context.troubles.skip('other line');
  }

  #searchStripped(bytes: Uint8Array, found: boolean): void {
    const cursor = this.#cursor.reset(bytes, 0, bytes.length);
    const stamped = this.#stamp.read(cursor);
    const result = this.#event();
    if (result === 'row' && cursor.at === cursor.end) return;
    if (result === 'other' && stamped && this.#isEventName()) this.#context.troubles.skip('other trace event');
    else this.#search(bytes, 0, bytes.length, found && result === 'other' ? 'cut' : result);
  }
}

const ESCAPE_END = bytesOf('@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~');

/** Without a terminal's control sequences (ESC [ ... letter). */
function withoutEscapes(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const kept: number[] = [];
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte !== ESCAPE) {
      kept.push(byte);
      continue;
    }
    if (bytes[at + 1] !== 0x5b) continue;
    at += 2;
    while (at < end && !ESCAPE_END.includes(bytes[at] ?? 0)) at++;
  }
  return Uint8Array.from(kept);
}
