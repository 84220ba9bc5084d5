/** Totals in bytes, as the columns of `memory_over_time`; `liveMappings` is a number. */
export interface MemoryTotals {
  privateBytes: number;
  sharedBytes: number;
  privateHeldBytes: number;
  sharedHeldBytes: number;
  doublyHeldBytes: number;
  dmaMappedBytes: number;
  pinnedBytes: number;
  liveMappings: number;
}

export const NO_MEMORY: Readonly<MemoryTotals> = {
  privateBytes: 0,
  sharedBytes: 0,
  privateHeldBytes: 0,
  sharedHeldBytes: 0,
  doublyHeldBytes: 0,
  dmaMappedBytes: 0,
  pinnedBytes: 0,
  liveMappings: 0,
};

/** Totals at one place of the axis: the highest value of each between it and the next place. */
export interface MemoryPoint extends Readonly<MemoryTotals> {
  /** ns since the clock base, or seq. */
  readonly at: number;
}

/** Reduces totals that come in the order of an axis to a fixed number of points, so that no peak is lost. */
export class MemorySeries {
  readonly #from: number;
  readonly #step: number;
  readonly #points: MemoryTotals[] = [];
  readonly #length: number;
  readonly #now: MemoryTotals = { ...NO_MEMORY };

  /** The axis goes from `from` to `to`, both included. */
  constructor(from: number, to: number, points: number) {
    this.#from = from;
    this.#step = Math.max(1, Math.ceil((to - from + 1) / points));
    this.#length = Math.ceil((to - from + 1) / this.#step);
  }

  /** The totals from `at` on. One that is out of order (threads' clocks) counts in the last interval that there is. */
  add(at: number, totals: Readonly<MemoryTotals>): void {
    this.#reach(Math.min(this.#length - 1, Math.floor((at - this.#from) / this.#step)));
    Object.assign(this.#now, totals);
    const point = this.#points.at(-1);
    if (point) raise(point, totals);
  }

  points(): MemoryPoint[] {
    this.#reach(this.#length - 1);
    return this.#points.map((point, i) => ({ at: this.#from + i * this.#step, ...point }));
  }

  /** Each interval up to this one begins with what was before it. */
  #reach(index: number): void {
    while (this.#points.length <= index) this.#points.push({ ...this.#now });
  }
}

/** Raises each total of `to` to that of `from`. */
export function raise(to: MemoryTotals, from: Readonly<MemoryTotals>): void {
  to.privateBytes = Math.max(to.privateBytes, from.privateBytes);
  to.sharedBytes = Math.max(to.sharedBytes, from.sharedBytes);
  to.privateHeldBytes = Math.max(to.privateHeldBytes, from.privateHeldBytes);
  to.sharedHeldBytes = Math.max(to.sharedHeldBytes, from.sharedHeldBytes);
  to.doublyHeldBytes = Math.max(to.doublyHeldBytes, from.doublyHeldBytes);
  to.dmaMappedBytes = Math.max(to.dmaMappedBytes, from.dmaMappedBytes);
  to.pinnedBytes = Math.max(to.pinnedBytes, from.pinnedBytes);
  to.liveMappings = Math.max(to.liveMappings, from.liveMappings);
}
