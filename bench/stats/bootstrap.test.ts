import { describe, expect, it } from 'vitest';
import {
  drawRanks,
  medianRatioInterval,
  quantileRank,
  RankLookup,
  ratioInterval,
  ratioOf,
  RESAMPLES,
  resamplers,
} from './bootstrap.ts';
import { median } from './interval.ts';

describe('ranks of a quantile in resamples', () => {
  it.each([
    // Ranks at 2.5, 25, 50, 75 and 97.5 %, from P(rank <= i) = P(Binomial(n, i / n) >= k), computed with scipy.stats.binom of SciPy 1.10.1.
    [101, 50, [41, 48, 51, 54, 61]],
    [101, 99, [96, 99, 100, 101, 101]],
    [7, 50, [2, 3, 4, 5, 6]],
    [1000, 99, [982, 988, 990, 992, 995]],
  ])('of %i values are those of binomial order statistics: %i %%', (count, percent, expected) => {
    const ranks = drawRanks(resamplers().a, count, quantileRank(count, percent)).sort();
    const got = [0.025, 0.25, 0.5, 0.75, 0.975].map((share) => ranks[Math.floor(share * RESAMPLES)] ?? NaN);
    got.forEach((rank, i) => expect(Math.abs(rank - (expected[i] ?? NaN))).toBeLessThanOrEqual(count > 100 ? 1 : 0));
  });

  it('are in the sample at its edges, and for ten million values', () => {
    const { a } = resamplers();
    expect(new Set(drawRanks(a, 1, 1))).toEqual(new Set([1]));
    for (const rank of drawRanks(a, 3, 3)) expect([1, 2, 3]).toContain(rank);
    for (const rank of drawRanks(a, 1e7, 5e6)) expect(Math.abs(rank - 5e6)).toBeLessThan(1e4);
  });

  it('are looked up in a histogram', () => {
    const lookup = new RankLookup(Float64Array.of(6, 1, 3, 4, 3));
    lookup.add(10, 1);
    lookup.add(20, 2);
    lookup.add(30, 3);
    expect([...lookup.values]).toEqual([30, 10, 20, 30, 20]);
  });
});

describe('interval of a ratio', () => {
  it('is the same every time', () => {
    expect(medianRatioInterval([1, 2, 3], [4, 5, 6])).toEqual(medianRatioInterval([3, 1, 2], [6, 5, 4]));
  });

  it('has none of a single run, and is a point where runs do not differ', () => {
    expect(medianRatioInterval([1], [2, 3])).toBeNull();
    expect(medianRatioInterval([2, 2], [3, 3, 3])).toEqual({ low: 1.5, high: 1.5 });
  });

  it('takes the medians of resamples', () => {
    // A does not vary, so the interval is that of B's median: in resamples of 5 it is the least value with 5.8 % and the largest likewise.
    expect(medianRatioInterval([1, 1], [10, 20, 30, 40, 50])).toEqual({ low: 10, high: 50 });
    // The mean of the two middle ones: of two values both are taken in half of the resamples.
    expect(medianRatioInterval([1, 1], [10, 20])).toEqual({ low: 10, high: 20 });
  });

  it('has no end where A took no time', () => {
    expect(ratioInterval([0, 0, 1], [0, 5, 5])).toEqual({ low: 1, high: Infinity });
    expect([ratioOf(0, 0), ratioOf(0, 3), ratioOf(2, 3)]).toEqual([1, Infinity, 1.5]);
  });

  it('covers the true ratio about as often as it says', () => {
    // Exponential values have a median of ln 2 times their mean; B's mean is 1.5 times A's.
    const { a: random } = resamplers();
    const draw = (mean: number): number[] =>
      Array.from({ length: 25 }, () => -mean * Math.log((random.integer(0, 2 ** 32 - 1) + 0.5) / 2 ** 32));
    let covered = 0;
    for (let experiment = 0; experiment < 400; experiment++) {
      const [a, b] = [draw(1), draw(1.5)];
      expect(median(a)).toBeGreaterThan(0);
      const interval = medianRatioInterval(a, b);
      if (interval && interval.low <= 1.5 && interval.high >= 1.5) covered++;
    }
    expect(covered / 400).toBeGreaterThan(0.92);
    expect(covered / 400).toBeLessThan(0.99);
  });
});
