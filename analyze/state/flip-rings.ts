/** When ranges changed sides last, to find those that do so again and again: STORM_FLIPS times within a second, or within as many rows without times. */

export const STORM_FLIPS = 128;
const WINDOW_NS = 1_000_000_000;
const WINDOW_ROWS = 4096;
/** Ranges that are followed at a time, 1 KiB each at most. */
const MAX_RINGS = 262_144;

/** A copy of fewer is not worth its time. */
const LONG_HISTORY = 8;

/** Marks of a range: it has not changed sides yet; it did, but not twice within the window; from here on a ring's number. */
export const NEVER = 0;
const ONCE = 1;
const FIRST_RING = 2;

interface Ring {
  start: number;
  end: number;
  readonly ats: number[];
  /** Place of the oldest, once it is full. */
  oldest: number;
}

export class FlipRings {
  readonly #rings: Ring[] = [];

  /**
   * The range has changed sides at `ns` (at row `seq` if times are not known), and before at `beforeNs`; `mark` is what it had then.
   * @returns its mark from now on
   */
  flip(mark: number, start: number, end: number, seq: number, ns: number, before: number, beforeNs: number): number {
    if (mark === NEVER) return ONCE;
    const timed = ns >= 0 && beforeNs >= 0;
    const now = timed ? ns : seq;
    const last = timed ? beforeNs : before;
    const old = this.#rings[mark - FIRST_RING];
    const own = old !== undefined && old.start === start && old.end === end;
    if (now - last > (timed ? WINDOW_NS : WINDOW_ROWS)) {
      if (!own) return ONCE;
      old.ats.length = 0;
      old.oldest = 0;
      old.ats.push(now);
      return mark;
    }
    if (own) {
      push(old, now);
      return mark;
    }
    if (this.#rings.length === MAX_RINGS) return ONCE;
    // A part of a range goes on with the range's history, unless that is short.
    const goesOn = old !== undefined && old.ats.length >= LONG_HISTORY;
    const ring = { start, end, ats: goesOn ? [...old.ats] : [last], oldest: goesOn ? old.oldest : 0 };
    push(ring, now);
    return FIRST_RING + this.#rings.push(ring) - 1;
  }

  /** Whether a mark is a range's own. */
  follows(mark: number): boolean {
    return mark >= FIRST_RING;
  }

  /** Whether the last STORM_FLIPS flips are within the window. */
  isStorm(mark: number, timed: boolean): boolean {
    const ring = this.#rings[mark - FIRST_RING];
    if (!ring || ring.ats.length < STORM_FLIPS) return false;
    const newest = ring.ats[(ring.oldest + STORM_FLIPS - 1) % STORM_FLIPS] as number;
    return newest - (ring.ats[ring.oldest] as number) <= (timed ? WINDOW_NS : WINDOW_ROWS);
  }
}

function push(ring: Ring, at: number): void {
  if (ring.ats.length < STORM_FLIPS) {
    ring.ats.push(at);
    return;
  }
  ring.ats[ring.oldest] = at;
  ring.oldest = (ring.oldest + 1) % STORM_FLIPS;
}
