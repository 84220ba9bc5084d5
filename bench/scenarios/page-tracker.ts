/**
 * Which pages of a guest are shared, as QEMU's RamBlockAttributes keeps them (one bit per 4 KiB, all private at first), and what a listener such as
 * VFIO is told when that changes.
 */
import { PAGE_BYTES, type Side } from '../../capture/request.ts';

/** A range of guest memory, bytes. */
export interface Section {
  readonly gpa: number;
  readonly len: number;
}

export class PageTracker {
  readonly #shared: Uint8Array;

  constructor(bytes: number) {
    this.#shared = new Uint8Array(bytes / PAGE_BYTES);
  }

  /**
   * The sections that a conversion has to tell its listeners of, in order: none if all of it is there already, the whole range if none of it is,
   * else each page that changes by itself. Nothing changes before `set`.
   */
  changes({ gpa, len }: Section, to: Side): Section[] {
    const goal = to === 'shared' ? 1 : 0;
    const first = gpa / PAGE_BYTES;
    const bits = this.#shared.subarray(first, first + len / PAGE_BYTES);
    const changing = bits.reduce((count, bit) => count + (bit === goal ? 0 : 1), 0);
    if (changing === 0) return [];
    if (changing === bits.length) return [{ gpa, len }];
    return [...bits.entries()]
      .filter(([, bit]) => bit !== goal)
      .map(([page]) => ({ gpa: gpa + page * PAGE_BYTES, len: PAGE_BYTES }));
  }

  set({ gpa, len }: Section, to: Side): void {
    this.#shared.fill(to === 'shared' ? 1 : 0, gpa / PAGE_BYTES, (gpa + len) / PAGE_BYTES);
  }

  /** Bytes of the range that are shared. */
  sharedBytes({ gpa, len }: Section): number {
    const bits = this.#shared.subarray(gpa / PAGE_BYTES, (gpa + len) / PAGE_BYTES);
    return bits.reduce((count, bit) => count + bit, 0) * PAGE_BYTES;
  }

  get bytes(): number {
    return this.#shared.length * PAGE_BYTES;
  }
}

/** A section cut at the multiples of `granularity`, as a listener maps it. Infinity: in one. */
export function cutSection({ gpa, len }: Section, granularity: number): Section[] {
  const pieces: Section[] = [];
  const end = gpa + len;
  for (let at = gpa; at < end;) {
    const next = granularity === Infinity ? end : Math.min(end, (Math.floor(at / granularity) + 1) * granularity);
    pieces.push({ gpa: at, len: next - at });
    at = next;
  }
  return pieces;
}
