import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeMap } from './range-map.ts';

const WIDTH = 40;

const range = fc
  .tuple(fc.integer({ min: 0, max: WIDTH }), fc.integer({ min: 0, max: WIDTH }))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

const change = fc.record({
  range,
  value: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
  add: fc.boolean(),
});

/** The same changes on one slot per address: slow and obvious. */
function naive(
  changes: readonly { range: readonly [number, number]; value: number | undefined; add: boolean }[],
): (number | undefined)[] {
  const cells = new Array<number | undefined>(WIDTH).fill(undefined);
  for (const { range, value, add } of changes) {
    for (let at = range[0]; at < range[1]; at++) cells[at] = add ? (cells[at] ?? 0) + 1 : value;
  }
  return cells;
}

describe('RangeMap', () => {
  it('holds what an array with one cell per address holds', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const map = new RangeMap<number>();
        for (const { range, value, add } of changes) {
          if (add) map.update(range[0], range[1], (old) => (old ?? 0) + 1);
          else if (value === undefined) map.delete(range[0], range[1]);
          else map.assign(range[0], range[1], value);
        }
        const cells = new Array<number | undefined>(WIDTH).fill(undefined);
        for (const part of map.parts(0, WIDTH)) cells.fill(part.value, part.start, part.end);
        expect(cells).toEqual(naive(changes));
        const ranges = [...map];
        ranges.forEach((range, i) => {
          expect(range.start).toBeLessThan(range.end);
          expect(range.start).toBeGreaterThanOrEqual(ranges[i - 1]?.end ?? 0);
        });
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it('is equal to a map of the same content that is cut in other places', () => {
    const whole = new RangeMap<string>();
    whole.assign(0, 100, 'a');
    const pieces = new RangeMap<string>();
    pieces.assign(50, 100, 'a');
    pieces.assign(0, 50, 'a');
    expect(whole.equals(pieces)).toBe(true);
    pieces.assign(10, 11, 'b');
    expect(whole.equals(pieces)).toBe(false);
    pieces.assign(10, 11, 'a');
    pieces.delete(99, 100);
    expect(pieces.equals(whole)).toBe(false);
  });
});
