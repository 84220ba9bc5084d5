import { bytesOf, isWordByte, type Cursor } from '../cursor.ts';
import { slot, type EventArgs } from './event-args.ts';

const ESCAPE = 0x1b;
const AT = 0x40;
const NIL = bytesOf('(nil)');

type Kind = 'hex' | 'number' | 'text' | 'choice';

interface Part {
  /** What stands before the argument. */
  readonly literal: Uint8Array;
  readonly kind: Kind;
  readonly slot: number;
  /** Texts that a choice can be. */
  readonly choices: readonly Uint8Array[];
}

const KINDS: Readonly<Record<string, Kind>> = { x: 'hex', d: 'number', s: 'text' };

/** Numbers without which an event is still a row. Not its result: one that is not known would be success. */
const OPTIONAL: ReadonlySet<number> = new Set(['len', 'flags', 'last'].map(slot));

/**
 * How QEMU prints an event's arguments, written as its format with places instead of conversions: "start {gpa:x} size {len:x}". `x` is a hexadecimal
 * number or pointer, `d` a decimal one, `s` a text up to what comes next; other letters are the texts that it can be: "{to:on|off}".
 */
export class EventForm {
  readonly #parts: readonly Part[];
  readonly #tail: Uint8Array;
  /** Slots in the order of the event's arguments. */
  readonly slots: readonly number[];
  /** Which of them are texts. */
  readonly texts: readonly boolean[];

  constructor(form: string) {
    const pieces = form.split(/\{(\w+):([^}]*)\}/);
    const parts: Part[] = [];
    for (let i = 0; i + 2 < pieces.length; i += 3) {
      const [literal = '', name = '', type = ''] = pieces.slice(i, i + 3);
      const kind = KINDS[type] ?? 'choice';
      const choices = kind === 'choice' ? type.split('|').map(bytesOf) : [];
      parts.push({ literal: bytesOf(literal), kind, slot: slot(name), choices });
    }
    this.#parts = parts;
    this.#tail = bytesOf(pieces.at(-1) ?? '');
    this.slots = parts.map((part) => part.slot);
    this.texts = parts.map(({ kind }) => kind === 'text' || kind === 'choice');
  }

  /** Reads the arguments at the cursor and moves behind them. False, and the cursor anywhere, if they are not printed so. */
  read(cursor: Cursor, args: EventArgs): boolean {
    args.clear();
    const parts = this.#parts;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i];
      if (!part || !cursor.skip(part.literal)) return false;
      if (this.#readPart(cursor, part, i, args)) continue;
      // The last number of a line that is perhaps cut: its row has all else.
      return cursor.openEnd && i === parts.length - 1 && OPTIONAL.has(part.slot) && reachesEnd(cursor);
    }
    if (!cursor.skip(this.#tail)) return false;
    const next = cursor.peek();
    if (next < 0 || next === ESCAPE || !(isWordByte(next) || next === AT)) return true;
    // Another line was written right behind the last number: how much of the digits is its, nobody knows.
    const last = parts.at(-1)?.slot ?? -1;
    if (this.#tail.length > 0 || !OPTIONAL.has(last)) return false;
    args.remove(last);
    return true;
  }

  /** Whether what stands before the first argument is here. */
  beginsAt(cursor: Cursor): boolean {
    return cursor.looking(this.#parts[0]?.literal ?? this.#tail);
  }

  #readPart(cursor: Cursor, part: Part, index: number, args: EventArgs): boolean {
    switch (part.kind) {
      case 'hex':
        if (cursor.skip(NIL)) args.setNumber(part.slot, 0, 0);
        else if (cursor.hex()) args.setNumber(part.slot, cursor.lo, cursor.hi);
        else return false;
        return true;
      case 'number':
        if (!cursor.number()) return false;
        args.setNumber(part.slot, cursor.lo, cursor.hi);
        return true;
      case 'choice':
        for (const choice of part.choices) {
          const start = cursor.at;
          if (!cursor.skip(choice)) continue;
          args.setText(part.slot, cursor.bytes, start, cursor.at);
          return true;
        }
        return false;
      case 'text': {
        const next = this.#parts[index + 1]?.literal ?? this.#tail;
        const start = cursor.at;
        if (next.length === 0) {
          if (cursor.openEnd) return false;
          cursor.at = cursor.end;
        } else if (cursor.findPast(next)) cursor.at -= next.length;
        else return false;
        args.setText(part.slot, cursor.bytes, start, cursor.at);
        return true;
      }
    }
  }
}

/** Whether only digits are left, so that a number reaches the end. */
function reachesEnd(cursor: Cursor): boolean {
  for (let at = cursor.at; at < cursor.end; at++) if (!isWordByte(cursor.bytes[at] ?? 0)) return false;
  return true;
}
