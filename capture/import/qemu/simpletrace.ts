/**
 * QEMU's trace backend "simple": a binary file of records, written by `-trace ...,file=PATH`. The events' names are in it from version 4 on; what their
 * arguments are is not, so that it is taken from `trace-events-all` or, for the events that become rows, from what QEMU's releases have had so far.
 * Layout: scripts/simpletrace.py and trace/simple.c of QEMU.
 */
import { CvmtraceError, opCode } from '../../../native/index.ts';
import { bytesOf } from '../cursor.ts';
import type { ByteFormat, ByteParser, ImportContext } from '../format.ts';
import type { EventForm } from './event-form.ts';
import { EventRows } from './event-rows.ts';
import type { QemuEvent } from './event.ts';
import { QEMU_EVENTS } from './events.ts';
import { readDeclaredEvents, type DeclaredEvent } from './trace-events.ts';

const LOST = opCode('lost');

const HEADER_BYTES = 24;
/** Event id, ns, length, process. */
const RECORD_BYTES = 24;
const MAX_NAME_BYTES = 4096;
/** QEMU's buffer, in which a record must fit, has 64 KiB. */
const MAX_RECORD_BYTES = 1024 * 1024;

const MAGIC = bytesOf('\xb4\x29\xa4\x0a\xcb\x77\xb1\xf2');
const RECORD_MAPPING = 0;
const RECORD_EVENT = 1;
/** As `#id` has it: 2^64 - 2. */
const DROPPED_ID = -2;

/** Instead of where the next record begins: it is not known where. */
const NOWHERE = -2;

/** Names that a file gives its events; QEMU has 5,000. */
const MAX_EVENTS = 100_000;

export const simpletraceFormat: ByteFormat = {
  name: 'qemu-simpletrace',
  summary: "QEMU's trace backend simple, versions 4, 3 and 2 (3 and 2 need --events)",
  madeBy: 'qemu built with --enable-trace-backends=simple: -trace events=EVENTS,file=LOG',
  kind: 'bytes',
  detect: (head) => (byteOrder(head) ? 100 : 0),
  open: (context) => new SimpletraceParser(context),
};

/** The machine's byte order, by the file's magic number; undefined if it is another file. */
function byteOrder(head: Uint8Array): 'little' | 'big' | undefined {
  if (head.length < 16 || head.subarray(0, 8).some((byte) => byte !== 0xff)) return undefined;
  const magic = head.subarray(8, 16);
  if (magic.every((byte, i) => byte === MAGIC[i])) return 'little';
  return magic.every((byte, i) => byte === MAGIC[7 - i]) ? 'big' : undefined;
}

/** An event of the file: what it becomes, if anything, and how its arguments are laid out. */
interface FileEvent {
  readonly event: QemuEvent | undefined;
  /** Layouts to try. */
  readonly forms: readonly EventForm[];
}

class SimpletraceParser implements ByteParser {
  readonly #context: ImportContext;
  readonly #rows: EventRows;
  readonly #known: ReadonlyMap<string, QemuEvent> = new Map(QEMU_EVENTS.map((event) => [event.name, event]));
  /** By name; as many as the file that the user gave has, in its order. */
  readonly #declared: ReadonlyMap<string, DeclaredEvent>;
  readonly #events = new Map<number, FileEvent>();
  #pending: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  #little = true;
  #version = 0;
  /** Records so far: the line numbers of a binary file. */
  #records = 0;
  #damaged = false;

  constructor(context: ImportContext) {
    this.#context = context;
    this.#rows = new EventRows(context);
    const { eventsFile } = context.options;
    const declared = eventsFile === undefined ? [] : readDeclaredEvents(eventsFile);
    this.#declared = new Map(declared.map((event) => [event.name, event]));
  }

  chunk(bytes: Uint8Array): void {
    if (this.#damaged) return;
    const all = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#view = new DataView(all.buffer, all.byteOffset, all.length);
    let at = 0;
    let next = 0;
    while (next >= 0) {
      at = next;
      next = this.#version === 0 ? this.#header(all) : this.#record(all, at);
    }
    this.#damaged = next === NOWHERE;
    this.#pending = next === NOWHERE ? new Uint8Array(0) : Uint8Array.prototype.slice.call(all, at);
  }

  end(): void {
    if (this.#version === 0) this.#context.troubles.add('no simpletrace header', 0);
    else if (this.#pending.length > 0 && !this.#damaged) {
      this.#context.troubles.add('cut record', this.#records + 1);
    }
  }

  /** Returns where the first record is; -1 if there are not enough bytes. */
  #header(bytes: Uint8Array): number {
    if (bytes.length < HEADER_BYTES) return -1;
    const order = byteOrder(bytes);
    this.#little = order === 'little';
    const version = this.#low(16);
    if (!order || this.#high(16) !== 0 || version < 2 || version > 4) {
      throw new CvmtraceError(
        'BAD_INPUT',
        order ? `simpletrace version ${version}, which cvmtrace does not read` : 'no simpletrace header',
        { hint: 'versions 2 to 4 are read, as QEMU writes them since 1.3' },
      );
    }
    if (version < 4 && this.#declared.size === 0) {
      throw new CvmtraceError('USAGE', `a simpletrace file of version ${version} has numbers instead of names`, {
        hint: 'name the list of the same QEMU: --events /usr/share/qemu/trace-events-all',
      });
    }
    this.#version = version;
    this.#context.sink.clock = 'CLOCK_MONOTONIC';
    if (version < 4) [...this.#declared.keys()].forEach((name, id) => this.#events.set(id, this.#fileEvent(name)));
    return HEADER_BYTES;
  }

  /** Reads the record at `at` and returns where the next is; -1 if it is not all there. */
  #record(bytes: Uint8Array, at: number): number {
    if (this.#version < 4) return this.#event(bytes, at);
    if (at + 8 > bytes.length) return -1;
    const type = this.#low(at);
    if (this.#high(at) === 0 && type === RECORD_EVENT) return this.#event(bytes, at + 8);
    if (this.#high(at) === 0 && type === RECORD_MAPPING) return this.#mapping(bytes, at + 8);
    return this.#lose('record of unknown type');
  }

  #mapping(bytes: Uint8Array, at: number): number {
    if (at + 12 > bytes.length) return -1;
    const length = this.#view.getUint32(at + 8, this.#little);
    if (length > MAX_NAME_BYTES) return this.#lose('event with too long a name');
    const end = at + 12 + length;
    if (end > bytes.length) return -1;
    this.#records++;
    if (this.#events.size < MAX_EVENTS) {
      this.#events.set(this.#id(at), this.#fileEvent(Buffer.from(bytes.subarray(at + 12, end)).toString('latin1')));
    }
    return end;
  }

  #event(bytes: Uint8Array, at: number): number {
    if (at + RECORD_BYTES > bytes.length) return -1;
    const length = this.#view.getUint32(at + 16, this.#little);
    if (length < RECORD_BYTES || length > MAX_RECORD_BYTES) return this.#lose('record of impossible length');
    const end = at + length;
    if (end > bytes.length) return -1;
    this.#context.troubles.lineNumber = ++this.#records;
    this.#when(at);
    const id = this.#id(at);
    if (id === DROPPED_ID) this.#dropped(at + RECORD_BYTES, end);
    else this.#emit(this.#events.get(id), bytes, at + RECORD_BYTES, end);
    return end;
  }

  #when(at: number): void {
    const rows = this.#rows;
    rows.hasTime = true;
    const high = this.#high(at + 8);
    const low = this.#low(at + 8);
    if (high < 2 ** 21) {
      const ns = high * 2 ** 32 + low;
      rows.seconds = Math.floor(ns / 1e9);
      rows.nanoseconds = ns - rows.seconds * 1e9;
    } else {
      const ns = (BigInt(high) << 32n) | BigInt(low);
      rows.seconds = Number(ns / 1_000_000_000n);
      rows.nanoseconds = Number(ns % 1_000_000_000n);
    }
    rows.pid = this.#view.getUint32(at + 20, this.#little);
  }

  #dropped(at: number, end: number): void {
    this.#rows.begin(LOST);
    if (at + 8 <= end) this.#context.sink.len(this.#low(at), this.#high(at));
  }

  #emit(found: FileEvent | undefined, bytes: Uint8Array, at: number, end: number): void {
    const { troubles } = this.#context;
    if (!found) {
      troubles.add('event without a name');
      return;
    }
    if (!found.event) {
      troubles.skip('other trace event');
      return;
    }
    for (const form of found.forms) {
      if (!this.#arguments(form, bytes, at, end)) continue;
      found.event.emit(this.#rows);
      return;
    }
    troubles.add(`${found.event.name} with other arguments`);
  }

  /** Fills the event's arguments by a layout, if it is as long as the record. */
  #arguments(form: EventForm, bytes: Uint8Array, start: number, end: number): boolean {
    const { args } = this.#rows;
    args.clear();
    let at = start;
    for (let i = 0; i < form.slots.length; i++) {
      const slot = form.slots[i] ?? 0;
      if (form.texts[i]) {
        if (at + 4 > end) return false;
        const length = this.#view.getUint32(at, this.#little);
        at += 4 + length;
        if (at > end) return false;
        args.setText(slot, bytes, at - length, at);
      } else {
        if (at + 8 > end) return false;
        args.setNumber(slot, this.#low(at), this.#high(at));
        at += 8;
      }
    }
    return at === end;
  }

  #fileEvent(name: string): FileEvent {
    const event = this.#known.get(name);
    const declared = this.#declared.get(name);
    const forms = event?.forms.filter(
      ({ texts }) =>
        !declared ||
        (texts.length === declared.texts.length && texts.every((isText, i) => isText === declared.texts[i])),
    );
    return { event, forms: forms ?? [] };
  }

  /** From here on nothing says where a record begins. */
  #lose(kind: string): number {
    this.#context.troubles.add(`${kind}, and what comes after it`, this.#records + 1);
    return NOWHERE;
  }

  /** An event's id; those above 2^53 are reserved, and negative here. */
  #id(at: number): number {
    const high = this.#high(at) | 0;
    return high * 2 ** 32 + this.#low(at);
  }

  #low(at: number): number {
    return this.#view.getUint32(this.#little ? at : at + 4, this.#little);
  }

  #high(at: number): number {
    return this.#view.getUint32(this.#little ? at + 4 : at, this.#little);
  }
}
