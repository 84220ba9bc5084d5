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
