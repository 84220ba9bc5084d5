/** The memory of one VM: which side each range is on, since when, and what is held (allocated) on each side. */
import { FlipRings, NEVER } from './flip-rings.ts';
import { RangeList } from './range-list.ts';

/** Bytes, over all VMs. */
export interface MemoryTotals {
  private: number;
  shared: number;
  privateHeld: number;
  sharedHeld: number;
  doublyHeld: number;
}

/** What is told of memory that changes. */
export interface MemoryObserver {
  /** A stay on a side is over. */
  stayed(vm: number, gpa: number, past: number, isPrivate: boolean, seq: number, ns: number): void;
  /** Memory was held on a side until now. */
  held(vm: number, gpa: number, past: number, isPrivate: boolean, seq: number, ns: number): void;
  /** A range changes sides again and again. */
  stormed(vm: number, gpa: number, past: number): void;
}

const SHARED = 0;
const PRIVATE = 1;

export class GuestMemory {
  readonly vm: number;
  readonly #totals: MemoryTotals;
  readonly #observer: MemoryObserver;
  /** Value: the side; extra: its mark in `#rings`. */
  readonly #sides = new RangeList();
  readonly #rings = new FlipRings();
  readonly #held = [new RangeList(), new RangeList()] as const;
  /** What hypercalls asked for last: value is the side. */
  readonly #asked = new RangeList();

  constructor(vm: number, totals: MemoryTotals, observer: MemoryObserver) {
    this.vm = vm;
    this.#totals = totals;
    this.#observer = observer;
  }

  get pieces(): number {
    return this.#sides.pieces + this.#held[0].pieces + this.#held[1].pieces;
  }

  /** Memory that has been converted or was held, bytes: an idea of the guest's size where nothing says it. */
  get seenBytes(): number {
    return Math.max(this.#sides.bytes, this.#held[0].bytes, this.#held[1].bytes);
  }

  /** Puts [gpa, past) on a side; the parts of it that were not there before, as start and end in turns. */
  convert(gpa: number, past: number, toPrivate: boolean, seq: number, ns: number): number[] {
    const side = toPrivate ? PRIVATE : SHARED;
    const changed = others(this.#sides, gpa, past, side);
    for (let i = 0; i < changed.length; i += 2) {
      const from = changed[i] as number;
      const to = changed[i + 1] as number;
      this.#put(from, side, this.#marks(from, to, seq, ns), seq, ns);
      if (toPrivate) this.#totals.private += to - from;
      else this.#totals.shared += to - from;
    }
    return changed;
  }

  /** The parts of [from, to), all of which change sides now, as end and mark in turns: as few as their histories allow. */
  #marks(from: number, to: number, seq: number, ns: number): number[] {
    const parts: number[] = [];
    let at = from;
    const add = (past: number, mark: number): void => {
      // What has a history that can become a storm stays a piece of its own.
      if (parts.at(-1) === mark && !this.#rings.follows(mark)) parts.splice(-2, 2);
      parts.push(past, mark);
    };
    this.#sides.forEach(from, to, (start, end, _was, since, sinceNs, before) => {
      if (start > at) add(start, NEVER);
      add(end, this.#rings.flip(before, start, end, seq, ns, since, sinceNs));
      at = end;
    });
    if (at < to) add(to, NEVER);
    return parts;
  }

  #put(from: number, side: number, parts: readonly number[], seq: number, ns: number): void {
    let start = from;
    for (let i = 0; i < parts.length; i += 2) {
      const past = parts[i] as number;
      const mark = parts[i + 1] as number;
      this.#sides.set(start, past, side, seq, ns, mark, (gpa, end, was, since, sinceNs) => {
        if (was === PRIVATE) this.#totals.private -= end - gpa;
        else this.#totals.shared -= end - gpa;
        this.#observer.stayed(this.vm, gpa, end, was === PRIVATE, since, sinceNs);
      });
      if (this.#rings.isStorm(mark, ns >= 0)) this.#observer.stormed(this.vm, start, past);
      start = past;
    }
  }

  /** Bytes of [gpa, past) that are on a side. */
  measureSide(gpa: number, past: number, isPrivate: boolean): number {
    return measureValue(this.#sides, gpa, past, isPrivate ? PRIVATE : SHARED);
  }

  /** A hypercall asks for [gpa, past) on a side. */
  ask(gpa: number, past: number, toPrivate: boolean, seq: number, ns: number): void {
    this.#asked.set(gpa, past, toPrivate ? PRIVATE : SHARED, seq, ns);
  }

  /** Bytes of [gpa, past) that the last hypercall for them asked to be on this side. */
  measureAsked(gpa: number, past: number, isPrivate: boolean): number {
    return measureValue(this.#asked, gpa, past, isPrivate ? PRIVATE : SHARED);
  }

  hold(gpa: number, past: number, onPrivate: boolean, seq: number, ns: number): void {
    const list = this.#held[onPrivate ? PRIVATE : SHARED];
    const other = this.#held[onPrivate ? SHARED : PRIVATE];
    // Mostly it is held already.
    if (list.measure(gpa, past) === past - gpa) return;
    const gaps = others(list, gpa, past, 0);
    for (let i = 0; i < gaps.length; i += 2) {
      const from = gaps[i] as number;
      const to = gaps[i + 1] as number;
      list.set(from, to, 0, seq, ns);
      if (onPrivate) this.#totals.privateHeld += to - from;
      else this.#totals.sharedHeld += to - from;
      this.#totals.doublyHeld += other.measure(from, to);
    }
  }

  giveBack(gpa: number, past: number, onPrivate: boolean): void {
    const list = this.#held[onPrivate ? PRIVATE : SHARED];
    const other = this.#held[onPrivate ? SHARED : PRIVATE];
    list.clear(gpa, past, (from, to, _value, seq, ns) => {
      if (onPrivate) this.#totals.privateHeld -= to - from;
      else this.#totals.sharedHeld -= to - from;
      this.#totals.doublyHeld -= other.measure(from, to);
      this.#observer.held(this.vm, from, to, onPrivate, seq, ns);
    });
  }

  /** The VM is gone, or the trace is over: what was, is told. */
  end(): void {
    this.#sides.clear(0, Infinity, (from, to, was, seq, ns) => {
      if (was === PRIVATE) this.#totals.private -= to - from;
      else this.#totals.shared -= to - from;
      this.#observer.stayed(this.vm, from, to, was === PRIVATE, seq, ns);
    });
    this.giveBack(0, Infinity, true);
    this.giveBack(0, Infinity, false);
  }
}

/** The parts of [start, end) that do not have this value, as start and end in turns. */
function others(list: RangeList, start: number, end: number, value: number): number[] {
  const parts: number[] = [];
  let at = start;
  list.forEach(start, end, (from, to, has) => {
    if (has !== value) return;
    if (from > at) parts.push(at, from);
    at = to;
  });
  if (at < end) parts.push(at, end);
  return parts;
}

/** Bytes of [start, end) that have this value. */
function measureValue(list: RangeList, start: number, end: number, value: number): number {
  let bytes = 0;
  list.forEach(start, end, (from, to, has) => {
    if (has === value) bytes += to - from;
  });
  return bytes;
}
