import { describe, expect, it } from 'vitest';
import { meanInterval, median, medianInterval, pairedRatio, t975 } from './interval.ts';

describe('intervals', () => {
  it('gives the interval of a textbook sample', () => {
    // Standard deviation sqrt(2.5), four degrees of freedom.
    const interval = meanInterval([3, 4, 5, 6, 7]);
    expect(interval.value).toBe(5);
    expect(interval.low).toBeCloseTo(5 - (2.776 * Math.sqrt(2.5)) / Math.sqrt(5), 10);
    expect(interval.high).toBeCloseTo(5 + (2.776 * Math.sqrt(2.5)) / Math.sqrt(5), 10);
  });

  it('has no interval for one run', () => {
    expect(meanInterval([7])).toEqual({ value: 7, low: null, high: null, runs: 1 });
  });

  it('continues the table of t without a step', () => {
    expect(t975(31)).toBeLessThan(t975(30));
    expect(t975(31)).toBeCloseTo(2.0395, 2);
    expect(t975(1000)).toBeCloseTo(1.9623, 3);
  });

  it('pairs by round: a drift that both sides share leaves an exact ratio', () => {
    const ratio = pairedRatio([2, 4, 8, 16], [1, 2, 4, 8]);
    expect(ratio?.value).toBeCloseTo(2, 12);
    expect(ratio?.low).toBeCloseTo(2, 12);
    expect(ratio?.high).toBeCloseTo(2, 12);
  });

  it('covers the true ratio in about 95 of 100 seeded experiments', () => {
    let state = 12345;
    const uniform = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state + 0.5) / 2 ** 32;
    };
    const normal = (): number => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    let covered = 0;
    for (let experiment = 0; experiment < 2000; experiment++) {
      const base = Array.from({ length: 5 }, () => Math.exp(0.2 * normal()));
      const ratio = pairedRatio(
        base.map((value) => 1.5 * value * Math.exp(0.1 * normal())),
        base,
      );
      if (ratio && (ratio.low ?? 0) <= 1.5 && (ratio.high ?? 0) >= 1.5) covered++;
    }
    expect(covered / 2000).toBeGreaterThan(0.93);
    expect(covered / 2000).toBeLessThan(0.97);
  });

  it('has no ratio where a run took no time', () => {
    expect(pairedRatio([1, 0], [1, 1])).toBeUndefined();
    expect(pairedRatio([], [])).toBeUndefined();
  });

  it('takes the middle', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBeNaN();
  });

  it.each([
    // Ranks of the interval's ends for a median, as printed in tables of order statistics.
    [6, 1, 6],
    [10, 2, 9],
    [15, 4, 12],
    [25, 8, 18],
  ])('takes the interval of a median of %i values from ranks %i and %i', (count, low, high) => {
    const values = Array.from({ length: count }, (_, i) => i + 1).reverse();
    expect(medianInterval(values)).toEqual({ value: (count + 1) / 2, low, high, runs: count });
  });

  it('has no interval for a median of five', () => {
    expect(medianInterval([5, 1, 4, 2, 3])).toEqual({ value: 3, low: null, high: null, runs: 5 });
  });
});
