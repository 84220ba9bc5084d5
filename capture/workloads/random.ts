import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { JumpableRandomGenerator } from 'pure-rand/types/JumpableRandomGenerator';

/** Seeds are unsigned 32-bit numbers. */
export const MAX_SEED = 2 ** 32 - 1;

/** One way a draw can come out, and how often in a hundred. */
export interface Weighted<T> {
  readonly percent: number;
  readonly value: T;
}

/**
 * Seeded random numbers, the same for ever: only integers are used, as Math.log and its kind may differ between engines.
 */
export class Random {
  readonly #generator: JumpableRandomGenerator;

  private constructor(generator: JumpableRandomGenerator) {
    this.#generator = generator;
  }

  static fromSeed(seed: number): Random {
    const generator = xoroshiro128plus(seed | 0);
    // The seed fills only half of the generator's state: its first numbers still show it, and neighbouring seeds would begin alike.
    for (let i = 0; i < 32; i++) generator.next();
    return new Random(generator);
  }

  /** An independent stream (2^64 numbers away), so that one part of a workload can change without changing the others. */
  fork(): Random {
    const child = new Random(this.#generator.clone());
    this.#generator.jump();
    return child;
  }

  /** Uniform from `from` to `to`, both included. */
  integer(from: number, to: number): number {
    return uniformInt(this.#generator, from, to);
  }

  /** True `percent` times in a hundred. */
  chance(percent: number): boolean {
    return this.integer(0, 99) < percent;
  }

  /** Draws from a table whose percentages add up to 100. */
  weighted<T>(table: readonly Weighted<T>[]): T {
    let left = this.integer(0, 99);
    for (const { percent, value } of table) {
      if (left < percent) return value;
      left -= percent;
    }
    throw new Error('the percentages of a weighted table do not add up to 100');
  }

  element<T>(list: readonly T[]): T {
    const value = list[this.integer(0, list.length - 1)];
    if (value === undefined) throw new Error('no element of an empty list');
    return value;
  }

  /** A shuffled copy: sorted by random keys. */
  shuffled<T>(list: readonly T[]): T[] {
    return list
      .map((value) => ({ value, key: this.#generator.next() }))
      .sort((a, b) => a.key - b.key)
      .map(({ value }) => value);
  }

  /**
   * A guest's think time: uniform from 0 to twice the mean. Published traces with inter-arrival times do not exist, so the shape is ours.
   */
  pauseNs(meanNs: number): number {
    return this.integer(0, 2 * meanNs);
  }
}
