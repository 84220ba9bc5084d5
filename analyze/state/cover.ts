import { RangeList } from './range-list.ts';

/** How many things lie on each address: each `add` of a range is undone by one `remove` of it, whole or in parts. */
export class Cover {
  readonly #counts = new RangeList();

  /** Addresses that something lies on. */
  get bytes(): number {
    return this.#counts.bytes;
  }

  add(start: number, end: number): void {
    this.#change(start, end, 1);
  }

  remove(start: number, end: number): void {
    this.#change(start, end, -1);
  }

  measure(start: number, end: number): number {
    return this.#counts.measure(start, end);
  }

  /** Visits the covered parts of [start, end), with how many lie on each. */
  forEach(start: number, end: number, visit: (start: number, end: number, count: number) => void): void {
    this.#counts.forEach(start, end, visit);
  }

  #change(start: number, end: number, by: 1 | -1): void {
    const parts: number[] = [];
    let at = start;
    this.#counts.forEach(start, end, (from, to, count) => {
      if (from > at && by > 0) parts.push(at, from, by);
      parts.push(from, to, count + by);
      at = to;
    });
    if (at < end && by > 0) parts.push(at, end, by);
    for (let i = 0; i < parts.length;) {
      const from = parts[i] as number;
      const count = parts[i + 2] as number;
      let to = parts[i + 1] as number;
      i += 3;
      // Adjacent parts of one count become one piece.
      while (i < parts.length && parts[i] === to && parts[i + 2] === count) {
        to = parts[i + 1] as number;
        i += 3;
      }
      if (count > 0) this.#counts.set(from, to, count, 0, 0);
      else this.#counts.clear(from, to);
    }
  }
}
