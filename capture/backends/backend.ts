import type { Native, OpBatch } from '../../native/index.ts';
import type { LeftOutStep, SlotRange } from '../trace/metadata.ts';

/** Numbers of the objects in a trace that a backend makes. Stable: the same in every trace from it. */
export const ObjectNumber = { vm: 1, shared: 2, private: 3 } as const;

/** What of a conversion this host can do for real. A strategy plans only what is true here; the rest is in `leftOut`. */
export interface BackendAbilities {
  /** KVM_SET_MEMORY_ATTRIBUTES on the VM. */
  readonly attributes: boolean;
  /** Pages of the private side can be touched. */
  readonly privateTouch: boolean;
  /** What the private side is: its operations are gmem_* on a guest_memfd, ram_* on the stand-in. */
  readonly privateKind: 'gmem' | 'ram';
  /** What the shared side is: a file can be punched and allocated, anonymous memory only madvised. */
  readonly sharedFile: boolean;
}

export interface Backend {
  readonly name: string;
  /** One line for lists and help. */
  readonly summary: string;
  /** True if its private side only stands in for a guest_memfd. */
  readonly standIn: boolean;
  /** As of `GuestInfo.vmType`. */
  readonly vmType: string | null;
  readonly abilities: BackendAbilities;
  readonly leftOut: readonly LeftOutStep[];
  /** Appends the operations that make the VM, its memory and its slots. */
  setUp(batch: OpBatch, slots: readonly SlotRange[]): void;
}

export interface BackendKind {
  readonly name: string;
  readonly summary: string;
  /**
   * Tries on the host what the backend can do there, with a page of real memory, and closes it again.
   * @throws CvmtraceError UNAVAILABLE with the reason.
   */
  open(native: Native): Promise<Backend>;
}

/** Bytes that the objects behind the slots need: where the last slot ends in them. */
export function slotsEnd(slots: readonly SlotRange[]): number {
  return Math.max(0, ...slots.map((slot) => slot.offset + slot.len));
}
