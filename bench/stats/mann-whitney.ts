/**
 * The Mann-Whitney U test (Wilcoxon's rank sum) of two samples: do values of B tend to be larger than values of A? No shape of the distributions is
 * assumed. It takes counts of distinct values in ascending order, so that samples of any size, read from a histogram, need no memory.
 */
import { normalTwoSided } from './normal.ts';

export interface RankTest {
  readonly countA: number;
  readonly countB: number;
  /** Pairs of a value of A and one of B in which B's is larger; a tie counts half. */
  readonly u: number;
  /** u over the number of pairs: above 0.5, values of B tend to be larger. */
  readonly shareBLarger: number;
  /** Two-sided. */
  readonly p: number;
  /** True: of the permutation distribution, ties and all; false: of the normal approximation, corrected for ties and continuity. */
  readonly exact: boolean;
}

/** Samples of at most so many values in all are tested exactly: where the approximation is close, and enumeration still takes no time. */
const MAX_EXACT = 30;

/** Values of both samples, added in ascending order, and the test of them. */
export class RankComparison {
  #countA = 0;
  #countB = 0;
  /** Twice u, which is a whole number. */
  #u2 = 0;
  /** Sum of t^3 - t over groups of t equal values. */
  #ties = 0;
  #groups: (readonly [size: number, inA: number])[] | undefined = [];

  /** A value, larger than those before, that is so many times in A and in B. */
  add(inA: number, inB: number): void {
    const size = inA + inB;
    if (size === 0) return;
    this.#u2 += inB * (2 * this.#countA + inA);
    this.#ties += (size - 1) * size * (size + 1);
    this.#countA += inA;
    this.#countB += inB;
    if (this.#countA + this.#countB > MAX_EXACT) this.#groups = undefined;
    this.#groups?.push([size, inA]);
  }

  /** The test; undefined if a sample is empty. */
  test(): RankTest | undefined {
    const [countA, countB] = [this.#countA, this.#countB];
    if (countA === 0 || countB === 0) return undefined;
    const u = this.#u2 / 2;
    return {
      countA,
      countB,
      u,
      shareBLarger: u / (countA * countB),
      p: this.#groups ? permutationP(this.#groups) : this.#normalP(),
      exact: this.#groups !== undefined,
    };
  }

  #normalP(): number {
    const [countA, countB] = [this.#countA, this.#countB];
    const all = countA + countB;
    const variance = ((countA * countB) / 12) * (all + 1 - this.#ties / (all * (all - 1)));
    if (variance <= 0) return 1;
    const distance = Math.abs(this.#u2 - countA * countB) / 2 - 0.5;
    return normalTwoSided(Math.max(0, distance) / Math.sqrt(variance));
  }
}

/** The test of two lists of values. */
export function mannWhitney(a: readonly number[], b: readonly number[]): RankTest | undefined {
  const comparison = new RankComparison();
  const values = [...new Set([...a, ...b])].sort((x, y) => x - y);
  const timesIn = (list: readonly number[], value: number): number => list.filter((other) => other === value).length;
  for (const value of values) comparison.add(timesIn(a, value), timesIn(b, value));
  return comparison.test();
}

/** The least p that runs without ties can give: all of one side beyond all of the other. */
export function leastP(countA: number, countB: number): number {
  return Math.min(1, 2 / choose(countA + countB, Math.min(countA, countB)));
}

/**
 * Of all ways to choose as many values as A has: the share whose sum of ranks is at least as far from its mean as A's. Counted by dynamic
 * programming over the groups of equal values; ranks are doubled, as a group's middle rank may end in a half.
 */
function permutationP(groups: readonly (readonly [size: number, inA: number])[]): number {
  const all = groups.reduce((sum, [size]) => sum + size, 0);
  const chosen = groups.reduce((sum, [, inA]) => sum + inA, 0);
  const maxSum = all * (all + 1);
  // ways[k][s]: of choosing k values whose doubled ranks add up to s.
  const ways = Array.from({ length: chosen + 1 }, () => new Float64Array(maxSum + 1));
  const [none] = ways;
  if (none) none[0] = 1;
  let below = 0;
  let sumA = 0;
  for (const [size, inA] of groups) {
    const rank = 2 * below + size + 1;
    sumA += inA * rank;
    below += size;
    // From the largest k down, so that each row is read before it has this group in it.
    for (let k = chosen; k > 0; k--) {
      const row = ways[k] as Float64Array;
      for (let taken = 1; taken <= Math.min(k, size); taken++) {
        const from = ways[k - taken] as Float64Array;
        const times = choose(size, taken);
        for (let sum = taken * rank; sum <= maxSum; sum++) {
          row[sum] = (row[sum] ?? 0) + times * (from[sum - taken * rank] ?? 0);
        }
      }
    }
  }
  const mean = chosen * (all + 1);
  const distance = Math.abs(sumA - mean);
  let extreme = 0;
  ways[chosen]?.forEach((count, sum) => {
    if (Math.abs(sum - mean) >= distance) extreme += count;
  });
  return Math.min(1, extreme / choose(all, chosen));
}

/** Binomial coefficient; exact up to 2^53. */
function choose(n: number, k: number): number {
  let ways = 1;
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i;
  return ways;
}
