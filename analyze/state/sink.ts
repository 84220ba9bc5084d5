/** What a walk finds, as it finds it. Numbers that are unknown, or not there yet at the end of the trace, are -1. */
import type { EndedBy, DmaApi } from './dma-space.ts';
import type { Slot } from './slots.ts';

/** In the order in which findings of one severity are told. */
export const HAZARD_KINDS = [
  'stale_mapping',
  'discarded_while_mapped',
  'mapped_while_private',
  'double_mapping',
  'unmap_no_match',
  'unmap_left_piece',
  'conversion_failed',
  'discard_failed',
  'doubly_held',
  'dma_entry_limit',
  'implicit_conversion',
  'flip_storm',
  'kernel_mapped_longer',
  'access_after_unmap',
  'vaddr_window',
] as const;

export type HazardKind = (typeof HAZARD_KINDS)[number];

export type Severity = 'error' | 'warning' | 'note';

export interface Hazard {
  readonly kind: HazardKind;
  readonly severity: Severity;
  readonly seq: number;
  readonly ns: number;
  readonly vm?: number;
  readonly obj?: number;
  readonly gpa?: number;
  readonly iova?: number;
  readonly len?: number;
  readonly count?: number;
  readonly ageNs?: number;
  /** Rows that prove it, by seq. */
  readonly proof: readonly number[];
  readonly explanation: string;
}

/** Rows that prove something, in order and each once; those below 0 are none. */
export function proofOf(...seqs: readonly number[]): number[] {
  return [...new Set(seqs)].filter((seq) => seq >= 0).sort((a, b) => a - b);
}

/** Bytes and mappings after a row. */
export interface MemoryState {
  readonly private: number;
  readonly shared: number;
  readonly privateHeld: number;
  readonly sharedHeld: number;
  readonly doublyHeld: number;
  readonly mapped: number;
  readonly pinned: number;
  readonly mappings: number;
}

/** From a row until before another: -1 for the end of the trace. */
export interface Span {
  readonly fromSeq: number;
  readonly fromNs: number;
  readonly pastSeq: number;
  readonly pastNs: number;
}

export interface StateSink {
  slot(slot: Slot, pastNs: number): void;
  place(seq: number, vm: number, gpa: number, past: number): void;
  side(vm: number, gpa: number, past: number, isPrivate: boolean, span: Span): void;
  hold(vm: number, gpa: number, past: number, isPrivate: boolean, span: Span): void;
  mapping(
    api: DmaApi,
    obj: number,
    iova: number,
    past: number,
    gpa: number,
    hva: number,
    span: Span,
    endedBy: EndedBy | undefined,
  ): void;
  /** `state` is the same object each time. */
  memory(seq: number, ns: number, state: MemoryState): void;
  request(seq: number, vm: number, slotBytes: number, changedBytes: number): void;
  vaddrWindow(obj: number, iova: number, past: number, matched: boolean, span: Span): void;
  hazard(hazard: Hazard): void;
}
