import { expect, it } from 'vitest';
import { noiseRatio } from './noise-floor.ts';

it('compares the halves of a side with each other', () => {
  expect(noiseRatio([100, 110])).toBeCloseTo(1.1, 12);
  expect(noiseRatio([110, 100])).toBeCloseTo(1.1, 12);
  // One against the median of the other two, each in turn: 100 : 115, 110 : 110, 120 : 105.
  expect(noiseRatio([100, 110, 120])).toBeCloseTo(115 / 100, 12);
  // 100, 101 against 103, 104 is the farthest of the three ways to halve four runs.
  expect(noiseRatio([100, 103, 101, 104])).toBeCloseTo(103.5 / 100.5, 12);
});

it('does not let one way of twenty decide', () => {
  // Of the 924 ways to take 6 of 12 runs, the 12 farthest have medians of 9.5 and 3.5.
  const ratio = noiseRatio(Array.from({ length: 12 }, (_, i) => i + 1));
  expect(ratio).toBeGreaterThan(1.5);
  expect(ratio).toBeLessThan(9.5 / 3.5 - 0.1);
});

it('is the same every time for more runs than can be halved in all ways', () => {
  const runs = Array.from({ length: 40 }, (_, i) => 1000 + ((i * 17) % 40));
  const ratio = noiseRatio(runs);
  expect(ratio).toBe(noiseRatio(runs));
  expect(ratio).toBeGreaterThan(1);
  expect(ratio).toBeLessThan(1.03);
});

it('is unknown for one run, and where a run took no time', () => {
  expect(noiseRatio([5])).toBeNull();
  expect(noiseRatio([])).toBeNull();
  expect(noiseRatio([0, 5])).toBeNull();
});
