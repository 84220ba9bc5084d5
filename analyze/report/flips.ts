import { Cover } from '../state/cover.ts';

/** Adjacent memory that changed sides equally often. */
export interface FlipRange {
  readonly gpa: number;
  readonly len: number;
  readonly flips: number;
}

/** How often memory changed sides: a range that stayed n times on a side did so n - 1 times. */
export class Flips {
  /** Stays, by VM. */
  readonly #stays = new Map<number, Cover>();

  stayed(vm: number, gpa: number, past: number): void {
    let stays = this.#stays.get(vm);
    if (!stays) this.#stays.set(vm, (stays = new Cover()));
    stays.add(gpa, past);
  }

  /** Bytes of converted memory by how often they changed sides, from the fewest on. */
  histogram(): { readonly flips: number; readonly bytes: number }[] {
    const bytes = new Map<number, number>();
    this.#forEach(({ len, flips }) => bytes.set(flips, (bytes.get(flips) ?? 0) + len));
    return [...bytes].map(([flips, size]) => ({ flips, bytes: size })).sort((a, b) => a.flips - b.flips);
  }

  /** The ranges that changed sides most often, at most `limit`, most first. */
  most(limit: number): FlipRange[] {
    const top: FlipRange[] = [];
    this.#forEach((range) => {
      if (range.flips === 0 || (top.length === limit && range.flips <= (top.at(-1)?.flips ?? 0))) return;
      const place = top.findIndex(({ flips }) => flips < range.flips);
      top.splice(place === -1 ? top.length : place, 0, range);
      top.length = Math.min(top.length, limit);
    });
    return top;
  }

  #forEach(visit: (range: FlipRange) => void): void {
    for (const stays of this.#stays.values()) {
      let range: { gpa: number; len: number; flips: number } | undefined;
      stays.forEach(0, Infinity, (gpa, past, count) => {
        if (range?.flips === count - 1 && range.gpa + range.len === gpa) {
          range.len += past - gpa;
          return;
        }
        if (range) visit(range);
        range = { gpa, len: past - gpa, flips: count - 1 };
      });
      if (range) visit(range);
    }
  }
}
