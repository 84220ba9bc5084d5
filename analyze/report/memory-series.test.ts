import { expect, test } from 'vitest';
import { MemorySeries, NO_MEMORY } from './memory-series.ts';

const shared = (sharedBytes: number) => ({ ...NO_MEMORY, sharedBytes });
const pointsOf = (series: MemorySeries): [number, number][] =>
  series.points().map(({ at, sharedBytes }) => [at, sharedBytes]);

test('a peak inside an interval is kept, and the next interval begins with what was last', () => {
  const series = new MemorySeries(0, 39, 4);
  series.add(3, shared(5));
  series.add(4, shared(90));
  series.add(9, shared(7));
  series.add(31, shared(1));
  expect(pointsOf(series)).toEqual([
    [0, 90],
    [10, 7],
    [20, 7],
    [30, 7],
  ]);
});

test('fewer places than points give a point each; nothing at all is zero', () => {
  expect(pointsOf(new MemorySeries(5, 7, 120))).toEqual([
    [5, 0],
    [6, 0],
    [7, 0],
  ]);
});

test('what is behind or beyond the axis counts in the last interval that there is', () => {
  const series = new MemorySeries(100, 199, 2);
  series.add(160, shared(1));
  series.add(90, shared(8));
  series.add(999, shared(3));
  expect(pointsOf(series)).toEqual([
    [100, 0],
    [150, 8],
  ]);
});
