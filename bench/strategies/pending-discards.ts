import { RangeMap } from '../range-map.ts';

/** Ranges whose memory waits to be given back, oldest first. A range that is used again stops waiting. */
export class PendingDiscards {
  readonly #batchOf = new RangeMap<number>();
  /** In order of age; a range may have been withdrawn, wholly or in part, since. */
  #queue: { readonly start: number; readonly end: number; readonly batch: number }[] = [];
  #head = 0;
  #nextBatch = 0;
  #bytes = 0;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  add(start: number, end: number): void {
    this.withdraw(start, end);
    const batch = this.#nextBatch++;
    this.#batchOf.assign(start, end, batch);
    this.#queue.push({ start, end, batch });
    this.#bytes += end - start;
  }

  /** [start, end) is in use again, or gone. */
  withdraw(start: number, end: number): void {
    for (const part of this.#batchOf.parts(start, end))
      if (part.value !== undefined) this.#bytes -= part.end - part.start;
    this.#batchOf.delete(start, end);
  }

  /** Takes the oldest ranges until at most `bytes` wait. Returned in address order, neighbours merged. */
  takeUntil(bytes: number): { start: number; end: number }[] {
    const taken: { start: number; end: number }[] = [];
    while (this.#bytes > bytes) {
      const oldest = this.#queue[this.#head++];
      if (!oldest) throw new Error(`${this.#bytes} bytes wait, but no range does`);
      for (const part of [...this.#batchOf.parts(oldest.start, oldest.end)]) {
        if (part.value !== oldest.batch) continue;
        taken.push({ start: part.start, end: part.end });
        this.withdraw(part.start, part.end);
      }
    }
    if (this.#head > this.#queue.length / 2) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return merged(taken);
  }
}

function merged(ranges: { start: number; end: number }[]): { start: number; end: number }[] {
  const result: { start: number; end: number }[] = [];
  for (const range of ranges.sort((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last?.end === range.start) last.end = range.end;
    else result.push({ ...range });
  }
  return result;
}
