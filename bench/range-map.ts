/**
 * A map from addresses to values, kept as disjoint ranges in address order. An assignment replaces whatever it overlaps, so each one adds at
 * most two ranges and every range is removed once: n assignments cost O(n log n) comparisons, whatever their length in pages.
 */
export interface Range<V> {
  readonly start: number;
  /** exclusive */
  readonly end: number;
  readonly value: V;
}

export class RangeMap<V> {
  #starts: number[] = [];
  #ends: number[] = [];
  #values: V[] = [];

  get size(): number {
    return this.#starts.length;
  }

  /** Sets the value of [start, end). */
  assign(start: number, end: number, value: V): void {
    this.#replace(start, end, [{ start, end, value }]);
  }

  /** Forgets [start, end). */
  delete(start: number, end: number): void {
    this.#replace(start, end, []);
  }

  /**
   * Replaces each part of [start, end) by what `change` makes of its value (undefined for a part without one; returning undefined leaves a part
   * without one). `change` is called once per part, in address order.
   */
  update(
    start: number,
    end: number,
    change: (value: V | undefined, start: number, end: number) => V | undefined,
  ): void {
    const parts: Range<V>[] = [];
    for (const part of this.parts(start, end)) {
      const value = change(part.value, part.start, part.end);
      if (value === undefined) continue;
      const last = parts.at(-1);
      if (last?.end === part.start && last.value === value) parts[parts.length - 1] = { ...last, end: part.end };
      else parts.push({ start: part.start, end: part.end, value });
    }
    this.#replace(start, end, parts);
  }

  /** [start, end) cut at the borders of the ranges, in address order; parts without a value have undefined. */
  *parts(start: number, end: number): Generator<Range<V | undefined>> {
    let at = start;
    for (let i = this.#firstEndingAfter(start); i < this.#starts.length && at < end; i++) {
      const from = this.#startAt(i);
      if (from >= end) break;
      if (from > at) yield { start: at, end: from, value: undefined };
      const to = Math.min(end, this.#endAt(i));
      yield { start: Math.max(at, from), end: to, value: this.#valueAt(i) };
      at = to;
    }
    if (at < end) yield { start: at, end, value: undefined };
  }

  *[Symbol.iterator](): Generator<Range<V>> {
    for (let i = 0; i < this.#starts.length; i++) {
      yield { start: this.#startAt(i), end: this.#endAt(i), value: this.#valueAt(i) };
    }
  }

  /** The same addresses with equal values; how the ranges are cut does not matter. */
  equals(other: RangeMap<V>): boolean {
    const mine = this.#merged();
    const theirs = other.#merged();
    return (
      mine.length === theirs.length &&
      mine.every((range, i) => {
        const against = theirs[i];
        return range.start === against?.start && range.end === against.end && range.value === against.value;
      })
    );
  }

  #merged(): Range<V>[] {
    const merged: Range<V>[] = [];
    for (const range of this) {
      const last = merged.at(-1);
      if (last?.end === range.start && last.value === range.value)
        merged[merged.length - 1] = { ...last, end: range.end };
      else merged.push(range);
    }
    return merged;
  }

  #replace(start: number, end: number, parts: readonly Range<V>[]): void {
    if (start >= end) return;
    const first = this.#firstEndingAfter(start);
    let last = first;
    while (last < this.#starts.length && this.#startAt(last) < end) last++;
    const kept: Range<V>[] = [];
    if (first < last && this.#startAt(first) < start) {
      kept.push({ start: this.#startAt(first), end: start, value: this.#valueAt(first) });
    }
    kept.push(...parts);
    if (first < last && this.#endAt(last - 1) > end) {
      kept.push({ start: end, end: this.#endAt(last - 1), value: this.#valueAt(last - 1) });
    }
    this.#starts = spliced(
      this.#starts,
      first,
      last,
      kept.map((range) => range.start),
    );
    this.#ends = spliced(
      this.#ends,
      first,
      last,
      kept.map((range) => range.end),
    );
    this.#values = spliced(
      this.#values,
      first,
      last,
      kept.map((range) => range.value),
    );
  }

  #firstEndingAfter(address: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#endAt(middle) <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The three arrays have one length; an index below it always has a value.
  #startAt(index: number): number {
    return this.#starts[index] as number;
  }
  #endAt(index: number): number {
    return this.#ends[index] as number;
  }
  #valueAt(index: number): V {
    return this.#values[index] as V;
  }
}

/** `array` with [first, last) replaced; in place unless `items` would not fit on the stack as arguments. */
function spliced<T>(array: T[], first: number, last: number, items: readonly T[]): T[] {
  if (items.length > 10_000) return array.slice(0, first).concat(items, array.slice(last));
  array.splice(first, last - first, ...items);
  return array;
}
