/**
 * What a trace did to each 4 KiB page of guest memory, as one pass over its changes in order. It holds what `memory_over_time` and `page_flips` say
 * for any number of changes in memory that grows with the guest's only: the views keep one row per change and range.
 */

const PAGE_BYTES = 4096;
const BLOCK_PAGES = 512;
const BLOCK_BYTES = PAGE_BYTES * BLOCK_PAGES;

/** 256 GiB of guest memory that is ever used, in 340 MB. */
const MAX_BLOCKS = 131_072;

/** A page's state: its side (0 until it is converted), and where it is held. */
const PRIVATE = 1;
const SHARED = 2;
const SIDE = 3;
const PRIVATE_HELD = 4;
const SHARED_HELD = 8;
const BOTH_HELD = PRIVATE_HELD | SHARED_HELD;

/** Totals in bytes, as the columns of `memory_over_time`. */
export interface MemoryTotals {
  privateBytes: number;
  sharedBytes: number;
  privateHeldBytes: number;
  sharedHeldBytes: number;
  doublyHeldBytes: number;
}

export const NO_MEMORY: Readonly<MemoryTotals> = {
  privateBytes: 0,
  sharedBytes: 0,
  privateHeldBytes: 0,
  sharedHeldBytes: 0,
  doublyHeldBytes: 0,
};

/** Adjacent pages that flipped equally often. */
export interface FlipRange {
  readonly gpa: number;
  readonly len: number;
  readonly flips: number;
}

interface Block {
  readonly state: Uint8Array;
  readonly flips: Uint32Array;
}

/** The guest uses more memory than the model holds. */
export class TooMuchMemoryError extends Error {
  constructor() {
    super(`the trace's ranges cover more than ${(MAX_BLOCKS * BLOCK_BYTES) / 1024 ** 3} GiB of guest memory`);
  }
}

export class PageModel {
  readonly totals: MemoryTotals = { ...NO_MEMORY };
  readonly #blocks = new Map<number, Block>();

  /** A successful conversion of the pages that [gpa, past) touches. Throws TooMuchMemoryError. */
  convert(gpa: number, past: number, toPrivate: boolean): void {
    const side = toPrivate ? PRIVATE : SHARED;
    let privatePages = 0;
    let sharedPages = 0;
    this.#forEachBlock(gpa, past, ({ state, flips }, from, to) => {
      for (let page = from; page < to; page++) {
        const was = state[page] ?? 0;
        const wasSide = was & SIDE;
        if (wasSide === side) continue;
        if (wasSide !== 0) {
          flips[page] = (flips[page] ?? 0) + 1;
          if (wasSide === PRIVATE) privatePages--;
          else sharedPages--;
        }
        if (toPrivate) privatePages++;
        else sharedPages++;
        state[page] = (was & ~SIDE) | side;
      }
    });
    this.totals.privateBytes += privatePages * PAGE_BYTES;
    this.totals.sharedBytes += sharedPages * PAGE_BYTES;
  }

  /** The pages that [gpa, past) touches are held on a side from now on, or no more. Throws TooMuchMemoryError. */
  hold(gpa: number, past: number, onPrivate: boolean, held: boolean): void {
    const bit = onPrivate ? PRIVATE_HELD : SHARED_HELD;
    let changed = 0;
    let doubled = 0;
    this.#forEachBlock(gpa, past, ({ state }, from, to) => {
      for (let page = from; page < to; page++) {
        const was = state[page] ?? 0;
        if (((was & bit) !== 0) === held) continue;
        changed++;
        if ((was & BOTH_HELD & ~bit) !== 0) doubled++;
        state[page] = was ^ bit;
      }
    });
    const sign = held ? PAGE_BYTES : -PAGE_BYTES;
    if (onPrivate) this.totals.privateHeldBytes += sign * changed;
    else this.totals.sharedHeldBytes += sign * changed;
    this.totals.doublyHeldBytes += sign * doubled;
  }

  /** Bytes of converted memory by how often they flipped, from the fewest flips on. */
  flipHistogram(): { readonly flips: number; readonly bytes: number }[] {
    const bytes = new Map<number, number>();
    for (const { state, flips } of this.#blocks.values()) {
      for (let page = 0; page < BLOCK_PAGES; page++) {
        if (((state[page] ?? 0) & SIDE) === 0) continue;
        const count = flips[page] ?? 0;
        bytes.set(count, (bytes.get(count) ?? 0) + PAGE_BYTES);
      }
    }
    return [...bytes].map(([flips, size]) => ({ flips, bytes: size })).sort((a, b) => a.flips - b.flips);
  }

  /** The ranges that flipped most often, at most `limit`, most flips first. */
  mostFlipped(limit: number): FlipRange[] {
    const top: FlipRange[] = [];
    let range: { gpa: number; len: number; flips: number } | undefined;
    const end = (): void => {
      if (range === undefined || range.flips === 0) return;
      if (top.length === limit && range.flips <= (top.at(-1)?.flips ?? 0)) return;
      const place = top.findIndex(({ flips }) => flips < (range?.flips ?? 0));
      top.splice(place === -1 ? top.length : place, 0, range);
      top.length = Math.min(top.length, limit);
    };
    for (const index of [...this.#blocks.keys()].sort((a, b) => a - b)) {
      const flips = this.#blocks.get(index)?.flips;
      for (let page = 0; page < BLOCK_PAGES; page++) {
        const gpa = index * BLOCK_BYTES + page * PAGE_BYTES;
        const count = flips?.[page] ?? 0;
        if (range?.flips === count && range.gpa + range.len === gpa) range.len += PAGE_BYTES;
        else {
          end();
          range = { gpa, len: PAGE_BYTES, flips: count };
        }
      }
    }
    end();
    return top;
  }

  #forEachBlock(gpa: number, past: number, apply: (block: Block, fromPage: number, toPage: number) => void): void {
    const firstPage = Math.floor(gpa / PAGE_BYTES);
    const pastPage = Math.ceil(past / PAGE_BYTES);
    if ((pastPage - firstPage) / BLOCK_PAGES > MAX_BLOCKS) throw new TooMuchMemoryError();
    for (let page = firstPage; page < pastPage;) {
      const index = Math.floor(page / BLOCK_PAGES);
      const from = page - index * BLOCK_PAGES;
      const to = Math.min(BLOCK_PAGES, from + pastPage - page);
      apply(this.#block(index), from, to);
      page += to - from;
    }
  }

  #block(index: number): Block {
    let block = this.#blocks.get(index);
    if (!block) {
      if (this.#blocks.size === MAX_BLOCKS) throw new TooMuchMemoryError();
      block = { state: new Uint8Array(BLOCK_PAGES), flips: new Uint32Array(BLOCK_PAGES) };
      this.#blocks.set(index, block);
    }
    return block;
  }
}
