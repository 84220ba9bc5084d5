import { wordHash } from '../cursor.ts';

/** What an argument of an event can be; those named as columns go there as they are. */
export const SLOTS = [
  ...['gpa', 'hva', 'iova', 'offset', 'len', 'attrs', 'flags', 'vcpu'],
  ...['last', 'ret', 'iommufd', 'id', 'parent', 'device', 'fd', 'name', 'readonly', 'start'],
  ...['space', 'slot', 'gmem', 'gmemOffset', 'request', 'to', 'from', 'madvise', 'fallocate', 'done', 'reason'],
] as const;

export type SlotName = string;

const INDEX: ReadonlyMap<string, number> = new Map(SLOTS.map((name, index) => [name, index]));

/** Number of a slot, to be looked up once. */
export function slot(name: SlotName): number {
  const index = INDEX.get(name);
  if (index === undefined) throw new Error(`no slot ${name}`);
  return index;
}

/** Arguments of one event, by slot: numbers as halves of 64 bits, texts as ranges of bytes. Filled again for each event. */
export class EventArgs {
  readonly lo = new Uint32Array(SLOTS.length);
  readonly hi = new Uint32Array(SLOTS.length);
  #bytes: Uint8Array = new Uint8Array(0);
  readonly #start = new Uint32Array(SLOTS.length);
  readonly #end = new Uint32Array(SLOTS.length);
  /** A bit per slot. */
  #present = 0;

  clear(): void {
    this.#present = 0;
  }

  has(slot: number): boolean {
    return (this.#present & (1 << slot)) !== 0;
  }

  remove(slot: number): void {
    this.#present &= ~(1 << slot);
  }

  setNumber(slot: number, lo: number, hi: number): void {
    this.lo[slot] = lo;
    this.hi[slot] = hi;
    this.#present |= 1 << slot;
  }

  setText(slot: number, bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#start[slot] = start;
    this.#end[slot] = end;
    this.#present |= 1 << slot;
  }

  low(slot: number): number {
    return this.lo[slot] ?? 0;
  }

  high(slot: number): number {
    return this.hi[slot] ?? 0;
  }

  /** As an int: QEMU prints returned errnos and file descriptors so. */
  int(slot: number): number {
    return this.low(slot) | 0;
  }

  /** The text, each byte as one character. */
  text(slot: number): string {
    const start = this.#start[slot] ?? 0;
    const { buffer, byteOffset } = this.#bytes;
    return Buffer.from(buffer, byteOffset + start, (this.#end[slot] ?? 0) - start).toString('latin1');
  }

  textIs(slot: number, text: Uint8Array): boolean {
    const start = this.#start[slot] ?? 0;
    if ((this.#end[slot] ?? 0) - start !== text.length) return false;
    for (let i = 0; i < text.length; i++) if (this.#bytes[start + i] !== text[i]) return false;
    return true;
  }
}

/** Hash of an event's name, as `Cursor.word` makes it of a line's. */
export const eventHash = wordHash;
