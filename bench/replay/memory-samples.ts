import { ObjectNumber } from '../../capture/backends/backend.ts';
import { PAGE_BYTES } from '../../capture/request.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import type { NativeSession } from '../../native/index.ts';
import type { MemoryModel } from './memory-model.ts';

/** What the kernel said, between requests of one run, beside what was computed at the same moments. */
export interface MemorySamples {
  /** The call that was asked. */
  readonly source: 'cachestat(2)';
  readonly samples: number;
  /** Most bytes held on both sides for the same guest memory at a sample; null if the kernel cannot say. */
  readonly peakBothBytesMeasured: number | null;
  /** The same at the same moments, from the rows. */
  readonly peakBothBytesComputed: number;
  /** Samples at which a page was held by the kernel and not by the computation, or the other way round. */
  readonly disagreements: number;
  /** errno's name, if the kernel cannot say. */
  readonly unavailable: string | null;
}

/**
 * Compares the model with the page cache of the two objects, page by page. An exact match of every page at every sample means that the strategy's
 * calls did to real memory what they were meant to do.
 */
export class MemorySampler {
  readonly #model: MemoryModel;
  readonly #slots: readonly SlotRange[];
  #samples = 0;
  #disagreements = 0;
  #measured = 0;
  #computed = 0;
  #unavailable: string | null = null;

  constructor(model: MemoryModel, slots: readonly SlotRange[]) {
    this.#model = model;
    this.#slots = slots;
  }

  sample(session: NativeSession): void {
    if (this.#unavailable !== null) return;
    try {
      const measured = {
        private: session.residentPages(ObjectNumber.private),
        shared: session.residentPages(ObjectNumber.shared),
      };
      this.#samples++;
      this.#measured = Math.max(this.#measured, commonPages(measured.private, measured.shared) * PAGE_BYTES);
      this.#computed = Math.max(this.#computed, this.#model.heldBytes.both);
      const agree = (['private', 'shared'] as const).every((side) =>
        equalBytes(measured[side], this.#computedPages(side, measured[side].length)),
      );
      if (!agree) this.#disagreements++;
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') throw error;
      this.#unavailable = error.code;
    }
  }

  get samples(): MemorySamples {
    return {
      source: 'cachestat(2)',
      samples: this.#samples,
      peakBothBytesMeasured: this.#unavailable === null && this.#samples > 0 ? this.#measured : null,
      peakBothBytesComputed: this.#computed,
      disagreements: this.#disagreements,
      unavailable: this.#unavailable,
    };
  }

  #computedPages(side: 'private' | 'shared', bytes: number): Uint8Array {
    const bitmap = new Uint8Array(bytes);
    for (const range of this.#model.held(side)) {
      for (const slot of this.#slots) {
        const start = Math.max(range.start, slot.gpa);
        const end = Math.min(range.end, slot.gpa + slot.len);
        if (start < end) setBits(bitmap, (slot.offset + start - slot.gpa) / PAGE_BYTES, (end - start) / PAGE_BYTES);
      }
    }
    return bitmap;
  }
}

function setBits(bitmap: Uint8Array, first: number, count: number): void {
  const end = first + count;
  let bit = first;
  for (; bit < end && bit % 8 !== 0; bit++) setBit(bitmap, bit);
  const wholeEnd = Math.floor(end / 8);
  if (bit < end && bit / 8 < wholeEnd) {
    bitmap.fill(0xff, bit / 8, wholeEnd);
    bit = wholeEnd * 8;
  }
  for (; bit < end; bit++) setBit(bitmap, bit);
}

function setBit(bitmap: Uint8Array, bit: number): void {
  const byte = Math.floor(bit / 8);
  bitmap[byte] = (bitmap[byte] ?? 0) | (1 << (bit % 8));
}

function commonPages(a: Uint8Array, b: Uint8Array): number {
  let pages = 0;
  for (let i = 0; i < a.length; i++) {
    for (let bits = (a[i] ?? 0) & (b[i] ?? 0); bits !== 0; bits &= bits - 1) pages++;
  }
  return pages;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
