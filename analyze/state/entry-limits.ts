/** Live mappings of type1 containers against dma_entry_limit. */
import type { DmaSpace } from './dma-space.ts';
import { proofOf, type StateSink } from './sink.ts';
import { counted } from './words.ts';

/** vfio_iommu_type1.dma_entry_limit if nobody changed it. */
const DEFAULT_ENTRY_LIMIT = 65_535;

interface EntryCount {
  readonly space: DmaSpace;
  readonly seq: number;
  readonly ns: number;
  peak: number;
  peakSeq: number;
  /** A map that was refused. */
  refusedSeq: number;
}

export class EntryLimits {
  readonly #sink: StateSink;
  /** Share of the limit that is near it. */
  readonly #share: number;
  readonly #entries = new Map<DmaSpace, EntryCount>();

  constructor(sink: StateSink, share: number) {
    this.#sink = sink;
    this.#share = share;
  }

  /** A map was refused for want of entries. */
  refused(space: DmaSpace, seq: number, ns: number): void {
    const entries = this.#entriesOf(space, seq, ns);
    if (entries.refusedSeq < 0) entries.refusedSeq = seq;
  }

  /** A mapping was made. */
  counted(space: DmaSpace, seq: number, ns: number): void {
    if (space.api !== 'type1' || space.count < this.#share * limitOf(space)) return;
    const entries = this.#entriesOf(space, seq, ns);
    if (space.count <= entries.peak) return;
    entries.peak = space.count;
    entries.peakSeq = seq;
  }

  end(): void {
    for (const entries of this.#entries.values()) this.#tell(entries);
  }

  #entriesOf(space: DmaSpace, seq: number, ns: number): EntryCount {
    let entries = this.#entries.get(space);
    if (!entries)
      this.#entries.set(space, (entries = { space, seq, ns, peak: space.count, peakSeq: seq, refusedSeq: -1 }));
    return entries;
  }

  #tell({ space, seq, ns, peak, peakSeq, refusedSeq }: EntryCount): void {
    const limit = limitOf(space);
    const over = refusedSeq >= 0 || peak > limit;
    const known = space.limit < 0 ? 'the default dma_entry_limit' : 'its dma_entry_limit';
    this.#sink.hazard({
      kind: 'dma_entry_limit',
      severity: over ? 'error' : 'warning',
      seq: refusedSeq >= 0 ? refusedSeq : seq,
      ns,
      obj: space.obj,
      count: peak,
      proof: proofOf(seq, peakSeq, refusedSeq),
      explanation:
        refusedSeq >= 0
          ? `a mapping is refused for want of entries (ENOSPC) at ${counted(peak, 'live mapping')}`
          : `${counted(peak, 'live mapping')} of the ${limit} of ${known}`,
    });
  }
}

function limitOf(space: DmaSpace): number {
  return space.limit < 0 ? DEFAULT_ENTRY_LIMIT : space.limit;
}
