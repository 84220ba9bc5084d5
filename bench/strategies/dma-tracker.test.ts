import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_BYTES, type Side } from '../../capture/request.ts';
import { DmaTracker } from './dma-tracker.ts';

const PAGES = 48;

/** In pages, as the tests count. */
function change(tracker: DmaTracker, page: number, pages: number, to: Side): [number, number][] {
  return tracker
    .change(page * PAGE_BYTES, pages * PAGE_BYTES, to)
    .map(({ gpa, len }) => [gpa / PAGE_BYTES, len / PAGE_BYTES]);
}

describe('DmaTracker', () => {
  it('has all memory private at first: nothing is to be unmapped', () => {
    expect(change(new DmaTracker(), 0, 8, 'private')).toEqual([]);
  });

  it('changes a uniform range at once, and only the first time', () => {
    const tracker = new DmaTracker();
    expect(change(tracker, 2, 8, 'shared')).toEqual([[2, 8]]);
    expect(change(tracker, 2, 8, 'shared')).toEqual([]);
    expect(change(tracker, 4, 2, 'private')).toEqual([[4, 2]]);
  });

  it('changes a mixed range page by page, but for those that are there already', () => {
    const tracker = new DmaTracker();
    change(tracker, 2, 2, 'shared');
    expect(change(tracker, 0, 6, 'shared')).toEqual([
      [0, 1],
      [1, 1],
      [4, 1],
      [5, 1],
    ]);
    // Uniform again, although it was made of three changes.
    expect(change(tracker, 0, 6, 'private')).toEqual([[0, 6]]);
  });

  it('does what a list of pages does', () => {
    const request = fc.record({
      page: fc.nat(PAGES - 1),
      pages: fc.integer({ min: 1, max: PAGES }),
      to: fc.constantFrom('private' as const, 'shared' as const),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 30 }), (requests) => {
        const tracker = new DmaTracker();
        const sides = Array.from({ length: 2 * PAGES }, (): Side => 'private');
        for (const { page, pages, to } of requests) {
          const numbers = Array.from({ length: pages }, (_, i) => page + i);
          const changing = numbers.filter((number) => sides[number] !== to);
          const wanted = changing.length === pages ? [[page, pages]] : changing.map((number) => [number, 1]);
          expect(change(tracker, page, pages, to)).toEqual(wanted);
          for (const number of numbers) sides[number] = to;
        }
      }),
      { seed: 3, numRuns: 300 },
    );
  });
});
