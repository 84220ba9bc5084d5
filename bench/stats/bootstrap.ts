/**
 * Percentile bootstrap of the ratio of two medians or other quantiles. A resample's quantile is always one of the sample's own values, so only its rank
 * is drawn: in a resample of n values, the k-th smallest has the rank ceil(n * Y) in the sample, with Y ~ Beta(k, n - k + 1). That is exact, and
 * takes no resampling: ten million calls cost what ten do.
 */
import { Random } from '../../capture/workloads/random.ts';

export const RESAMPLES = 2000;

const SEED = 1;

/** What a ratio may be, 95 %. A bound may be Infinity, where A took no time. */
export interface RatioInterval {
  readonly low: number;
  readonly high: number;
}

/** Independent streams of random numbers for the two sides, the same for every comparison. */
export function resamplers(): { readonly a: Random; readonly b: Random } {
  const random = Random.fromSeed(SEED);
  return { a: random.fork(), b: random.fork() };
}

/** Rank of a quantile as `op_latency` takes it (nearest rank), from 1. */
export function quantileRank(count: number, percent: number): number {
  return Math.max(1, Math.ceil((count * percent) / 100));
}

/** Ranks, from 1, that the `rank`-th smallest of `count` values has in resamples of them. */
export function drawRanks(random: Random, count: number, rank: number): Float64Array {
  return Float64Array.from({ length: RESAMPLES }, () => {
    const below = gamma(random, rank);
    return Math.max(1, Math.ceil((count * below) / (below + gamma(random, count - rank + 1))));
  });
}

/** Values at the given ranks of a sample that is read as a histogram, in ascending order. */
export class RankLookup {
  readonly values: Float64Array;
  readonly #ranks: Float64Array;
  readonly #order: Uint32Array;
  #seen = 0;
  #next = 0;

  constructor(ranks: Float64Array) {
    this.#ranks = ranks;
    this.#order = Uint32Array.from(ranks.keys()).sort((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0));
    this.values = new Float64Array(ranks.length);
  }

  /** A value, larger than those before, that is `count` times in the sample. */
  add(value: number, count: number): void {
    this.#seen += count;
    for (; this.#next < this.#order.length; this.#next++) {
      const index = this.#order[this.#next] ?? 0;
      if ((this.#ranks[index] ?? 0) > this.#seen) return;
      this.values[index] = value;
    }
  }
}

/** Interval of B / A from values of resamples of both. */
export function ratioInterval(a: ArrayLike<number>, b: ArrayLike<number>): RatioInterval {
  const ratios = Float64Array.from(a, (value, index) => ratioOf(value, b[index] ?? NaN)).sort();
  const outside = Math.floor(ratios.length * 0.025);
  return { low: ratios[outside] ?? NaN, high: ratios[ratios.length - 1 - outside] ?? NaN };
}

/** Interval of the ratio of medians, B / A, of a few runs per side. Null where a side has a single run. */
export function medianRatioInterval(a: readonly number[], b: readonly number[]): RatioInterval | null {
  if (a.length < 2 || b.length < 2) return null;
  return ratioInterval(resampledMedians('a', a), resampledMedians('b', b));
}

/** The two middle ranks, from 0, of each resample; the same one twice if there is one in the middle. */
interface MedianRanks {
  readonly lower: Uint32Array;
  readonly upper: Uint32Array;
}

const KNOWN_RANKS = { a: new Map<number, MedianRanks>(), b: new Map<number, MedianRanks>() };

function resampledMedians(side: 'a' | 'b', values: readonly number[]): Float64Array {
  const sorted = Float64Array.from(values).sort();
  const ranks = KNOWN_RANKS[side].get(values.length) ?? drawMedianRanks(resamplers()[side], values.length);
  KNOWN_RANKS[side].set(values.length, ranks);
  return Float64Array.from(
    ranks.lower,
    (lower, index) => ((sorted[lower] ?? NaN) + (sorted[ranks.upper[index] ?? 0] ?? NaN)) / 2,
  );
}

function drawMedianRanks(random: Random, count: number): MedianRanks {
  const drawn = new Uint32Array(count);
  const ranks = { lower: new Uint32Array(RESAMPLES), upper: new Uint32Array(RESAMPLES) };
  for (let resample = 0; resample < RESAMPLES; resample++) {
    for (let i = 0; i < count; i++) drawn[i] = random.integer(0, count - 1);
    drawn.sort();
    ranks.lower[resample] = drawn[(count - 1) >> 1] ?? 0;
    ranks.upper[resample] = drawn[count >> 1] ?? 0;
  }
  return ranks;
}

/** b / a of two times: 1 if both are 0, Infinity if only `a` is. */
export function ratioOf(a: number, b: number): number {
  return a === b ? 1 : b / a;
}

/** Gamma variate of shape >= 1 and scale 1 (Marsaglia and Tsang 2000). */
function gamma(random: Random, shape: number): number {
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = Math.sqrt(-2 * Math.log(uniform(random))) * Math.cos(2 * Math.PI * uniform(random));
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(uniform(random)) < 0.5 * x * x + d * (1 - v + Math.log(v))) return d * v;
  }
}

/** Between 0 and 1, neither included. */
function uniform(random: Random): number {
  return (random.integer(0, 2 ** 32 - 1) + 0.5) / 2 ** 32;
}
