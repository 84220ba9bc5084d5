/** Intervals for a handful of repeated runs, where each run of B has a run of A beside it in the same round. */

/** A 95 % confidence interval; low and high are null for a single run. */
export interface Interval {
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly runs: number;
}

/** 97.5 % points of Student's t for 1 to 30 degrees of freedom (any statistics table). */
const T975 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** 97.5 % point of Student's t; past the table by the first two terms of its expansion around the normal's (error below 0.001). */
export function t975(degrees: number): number {
  const normal = 1.95996;
  return T975[degrees - 1] ?? normal + (normal ** 3 + normal) / (4 * degrees);
}

/** Mean of the values with its interval, which does not go below 0 where no value does. NaN for none. */
export function meanInterval(values: readonly number[]): Interval {
  return meanOf(values, values.every((value) => value >= 0) ? 0 : -Infinity);
}

function meanOf(values: readonly number[], least: number): Interval {
  const runs = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / runs;
  if (runs < 2) return { value: mean, low: null, high: null, runs };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (runs - 1);
  const half = t975(runs - 1) * Math.sqrt(variance / runs);
  return { value: mean, low: Math.max(least, mean - half), high: mean + half, runs };
}

/**
 * Ratio of `values` to `base`, paired by round: the geometric mean of the rounds' ratios, its interval from Student's t on their logarithms, so that
 * a drift of the machine that both runs of a round share falls out. Undefined if a value is not above 0.
 */
export function pairedRatio(values: readonly number[], base: readonly number[]): Interval | undefined {
  const logs: number[] = [];
  for (const [round, value] of values.entries()) {
    const against = base[round];
    if (against === undefined || !(value > 0) || !(against > 0)) return undefined;
    logs.push(Math.log(value / against));
  }
  if (logs.length === 0) return undefined;
  const { value, low, high, runs } = meanOf(logs, -Infinity);
  return {
    value: Math.exp(value),
    low: low === null ? null : Math.exp(low),
    high: high === null ? null : Math.exp(high),
    runs,
  };
}

/** Middle of the values; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/**
 * Median with a 95 % interval from order statistics: no shape is assumed, and a few rounds that another process disturbed do not move it. The interval
 * is null below 6 values, which cannot give one.
 */
export function medianInterval(values: readonly number[]): Interval {
  const sorted = [...values].sort((a, b) => a - b);
  const runs = sorted.length;
  const rank = lowerRank(runs);
  if (rank === undefined) return { value: median(values), low: null, high: null, runs };
  return { value: median(values), low: sorted[rank] ?? null, high: sorted[runs - 1 - rank] ?? null, runs };
}

/** Largest index k with P(fewer than k + 1 of n fair coins are heads) <= 2.5 %. */
function lowerRank(n: number): number | undefined {
  let probability = 0.5 ** n;
  let term = probability;
  let rank: number | undefined;
  for (let k = 0; probability <= 0.025; k++) {
    rank = k;
    term *= (n - k) / (k + 1);
    probability += term;
  }
  return rank;
}
