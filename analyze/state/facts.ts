/** What a walk knows before it begins, and where it gives up. */

/** What is known of a trace before its rows. */
export interface TraceFacts {
  /** Operations that it has, and of them those that succeeded at least once. */
  readonly ops: ReadonlySet<string>;
  readonly succeeded: ReadonlySet<string>;
  /** Guest memory as the metadata says, bytes; null if unknown. */
  readonly guestBytes: number | null;
  readonly limits: HazardLimits;
}

/** From where on something is a hazard. */
export interface HazardLimits {
  /** Memory held on both sides, bytes; null: a quarter of the guest's. */
  readonly doublyHeldBytes: number | null;
  /** Share of dma_entry_limit. */
  readonly dmaEntryShare: number;
}

export const DEFAULT_LIMITS: HazardLimits = { doublyHeldBytes: null, dmaEntryShare: 0.9 };

/** The trace has more than a walk can hold, or do in bounded time. */
export class TooMuchStateError extends Error {}

/** Pieces that calls on many mappings go over, in all. */
const MAX_WORK = 100_000_000;

/** Counts work that rows of an untrusted trace can ask for again and again. */
export class Work {
  #done = 0;

  /** @throws TooMuchStateError */
  count(pieces: number): void {
    this.#done += pieces;
    if (this.#done > MAX_WORK) throw new TooMuchStateError('its calls go over the same ranges again and again');
  }
}
