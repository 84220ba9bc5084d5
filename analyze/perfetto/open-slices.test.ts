import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_LANES, OpenSlices, SliceTrack, type OpenSlice } from './open-slices.ts';

interface Slice {
  readonly track: number;
  readonly start: number;
  readonly end: number;
}

/** Opens the slices in their order, and returns what a lane was told: begins and ends, in order. */
function run(slices: readonly Slice[]): {
  told: (readonly [lane: number, ns: number, begins: boolean])[];
  lanes: number;
} {
  let lanes = 0;
  const told: (readonly [number, number, boolean])[] = [];
  const tracks = [0, 1].map(() => new SliceTrack(() => lanes++));
  const open = new OpenSlices((lane, ns) => told.push([lane, ns, false]));
  for (const { track, start, end } of slices) {
    open.advance(start);
    const slice = open.open(tracks[track] as SliceTrack, start, end);
    if (slice) told.push([slice.lane.uuid, start, true]);
  }
  open.closeAll();
  return { told, lanes };
}

test('slices are nested on their lanes, end when they end, and in the order of time', () => {
  const slice = fc.record({ track: fc.nat(1), start: fc.nat(30), length: fc.nat(12) });
  fc.assert(
    fc.property(fc.array(slice, { maxLength: 30 }), (drawn) => {
      const slices = drawn
        .map(({ track, start, length }) => ({ track, start, end: start + length }))
        .sort((a, b) => a.start - b.start || b.end - a.end);
      const { told, lanes } = run(slices);
      expect(told.map(([, ns]) => ns)).toEqual(told.map(([, ns]) => ns).sort((a, b) => a - b));
      const stacks = new Map<number, number[]>();
      const pairs: (readonly [number, number])[] = [];
      for (const [lane, ns, begins] of told) {
        const stack = stacks.get(lane) ?? [];
        stacks.set(lane, stack);
        if (begins) stack.push(ns);
        else pairs.push([stack.pop() ?? NaN, ns]);
      }
      const numeric = (a: readonly number[], b: readonly number[]): number =>
        (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0);
      expect([...pairs].sort(numeric)).toEqual(slices.map(({ start, end }) => [start, end]).sort(numeric));
      // No lane more than slices at one moment: those that end when one begins make room for it.
      const atOnce = slices.map(({ start }) => slices.filter((s) => s.start <= start && s.end >= start).length);
      expect(lanes).toBeLessThanOrEqual(2 * Math.max(0, ...atOnce));
    }),
    { numRuns: 300 },
  );
});

test('a slice is in the one it is for, even where both are empty, and beside it where it does not fit', () => {
  const track = new SliceTrack((lane) => lane);
  const ended: number[] = [];
  const open = new OpenSlices((_lane, ns) => ended.push(ns));
  const lane = (slice: OpenSlice | undefined): readonly (number | undefined)[] => [
    slice?.lane.uuid,
    slice?.lane.stack.length,
  ];
  const empty = open.open(track, 5, 5);
  expect(lane(open.open(track, 5, 5, empty))).toEqual([0, 2]);
  expect(lane(open.open(track, 5, 5, empty))).toEqual([0, 2]);
  expect(lane(open.open(track, 5, 5))).toEqual([0, 1]);
  open.advance(6);
  expect(ended).toEqual([5, 5, 5, 5]);
  const exit = open.open(track, 6, 10);
  expect(lane(open.open(track, 7, 11, exit))).toEqual([1, 1]);
  expect(lane(open.open(track, 8, 10, exit))).toEqual([0, 2]);
});

test('a track has only so many lanes', () => {
  const track = new SliceTrack((lane) => lane);
  const open = new OpenSlices(() => undefined);
  const opened = Array.from({ length: MAX_LANES + 2 }, (_, i) => open.open(track, i, 1_000 + i));
  expect(opened.map((slice) => slice?.lane.uuid)).toEqual([...Array(MAX_LANES).keys(), undefined, undefined]);
});
