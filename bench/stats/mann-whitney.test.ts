import { describe, expect, it } from 'vitest';
import { leastP, mannWhitney } from './mann-whitney.ts';

const series = (count: number, value: (i: number) => number): number[] =>
  Array.from({ length: count }, (_, i) => value(i));

/** The definition: pairs counted one by one, over all ways to call as many of the values "A" as there are. */
function byEnumeration(a: readonly number[], b: readonly number[]): { readonly u: number; readonly p: number } {
  const all = [...a, ...b];
  const pairs = (inA: (index: number) => boolean): number => {
    let u = 0;
    for (const [i, x] of all.entries())
      for (const [j, y] of all.entries()) if (inA(i) && !inA(j)) u += y > x ? 1 : y === x ? 0.5 : 0;
    return u;
  };
  const mean = (a.length * b.length) / 2;
  const u = pairs((index) => index < a.length);
  let ways = 0;
  let extreme = 0;
  for (let mask = 0; mask < 2 ** all.length; mask++) {
    const bits = series(all.length, (i) => (mask >> i) & 1);
    if (bits.reduce((sum, bit) => sum + bit, 0) !== a.length) continue;
    ways++;
    if (Math.abs(pairs((index) => bits[index] === 1) - mean) >= Math.abs(u - mean)) extreme++;
  }
  return { u, p: extreme / ways };
}

describe('Mann-Whitney', () => {
  it('gives the published example', () => {
    // Hollander and Wolfe, permeability of the human chorioamnion at term and at 12 to 26 weeks; R's help of wilcox.test prints W = 35 and, for one
    // side, p = 0.1272.
    const term = [0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    const early = [1.15, 0.88, 0.9, 0.74, 1.21];
    const test = mannWhitney(early, term);
    expect(test).toMatchObject({ u: 35, exact: true });
    expect(test?.p).toBeCloseTo(2 * 0.1272061272061272, 12);
  });

  it('is exact where there are no ties, as SciPy is', () => {
    // scipy.stats.mannwhitneyu(b, a, method='exact') of SciPy 1.10.1: 72.0 and 0.7688867949925966.
    const test = mannWhitney(
      series(12, (i) => (i * 3) % 31),
      series(13, (i) => ((i * 5) % 29) + 0.5),
    );
    expect(test).toMatchObject({ u: 72, exact: true });
    expect(test?.p).toBeCloseTo(0.7688867949925966, 12);
  });

  it('approximates larger samples with ties, as SciPy does', () => {
    // scipy.stats.mannwhitneyu(b, a, method='asymptotic'), which corrects for ties and continuity: 2917.0 and 0.029615679380337358.
    const test = mannWhitney(
      series(60, (i) => (i * 37) % 50),
      series(80, (i) => ((i * 41) % 55) + 3),
    );
    expect(test).toMatchObject({ u: 2917, exact: false });
    expect(test?.p).toBeCloseTo(0.029615679380337358, 12);
  });

  it.each([
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    [
      [1, 2, 2, 3],
      [2, 3, 3, 5, 7],
    ],
    [
      [5, 5, 5],
      [5, 5, 1, 9],
    ],
    [[4], [1, 2, 3, 4, 5, 6]],
    [
      [3, 1, 4, 1, 5, 9],
      [2, 6, 5, 3, 5, 8],
    ],
  ])('of %j and %j is what counting all of it gives', (a, b) => {
    const test = mannWhitney(a, b);
    const expected = byEnumeration(a, b);
    expect(test?.u).toBe(expected.u);
    expect(test?.p).toBeCloseTo(expected.p, 12);
  });

  it('comes out the same from either method where both can be used', () => {
    // 15 and 15 values are tested exactly, 16 and 16 of the same shape are not.
    const exact = mannWhitney(
      series(15, (i) => i),
      series(15, (i) => i + 4.5),
    );
    const close = mannWhitney(
      series(16, (i) => i),
      series(16, (i) => i + 4.5),
    );
    expect([exact?.exact, close?.exact]).toEqual([true, false]);
    expect(Math.abs((exact?.p ?? 0) - (close?.p ?? 0))).toBeLessThan(0.02);
  });

  it('says nothing where all values are the same, or a sample is empty', () => {
    expect(mannWhitney([7, 7, 7], [7, 7])?.p).toBe(1);
    expect(mannWhitney(Array<number>(40).fill(7), Array<number>(40).fill(7))).toMatchObject({ p: 1, exact: false });
    expect(mannWhitney([], [1])).toBeUndefined();
  });

  it('knows the least p that so few runs can give', () => {
    expect(leastP(1, 1)).toBe(1);
    expect(leastP(3, 3)).toBeCloseTo(0.1, 12);
    expect(leastP(4, 4)).toBeCloseTo(mannWhitney([1, 2, 3, 4], [5, 6, 7, 8])?.p ?? NaN, 12);
    expect(leastP(5, 5)).toBeCloseTo(2 / 252, 12);
  });
});
