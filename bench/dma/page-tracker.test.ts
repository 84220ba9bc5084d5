import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_BYTES, type Side } from '../../capture/request.ts';
import { cut } from './cut.ts';
import { PageTracker } from './page-tracker.ts';

const K = 1024;

describe('page tracker', () => {
  it('begins all private and tells of changes only', () => {
    const tracker = new PageTracker();
    expect(tracker.changes({ gpa: 0, len: 64 * K }, 'private')).toEqual([]);
    expect(tracker.changes({ gpa: 8 * K, len: 16 * K }, 'shared')).toEqual([{ gpa: 8 * K, len: 16 * K }]);
  });

  it('changes nothing before it is set', () => {
    const tracker = new PageTracker();
    tracker.changes({ gpa: 0, len: 64 * K }, 'shared');
    expect(tracker.sharedBytes({ gpa: 0, len: 64 * K })).toBe(0);
    tracker.set({ gpa: 4 * K, len: 8 * K }, 'shared');
    expect(tracker.sharedBytes({ gpa: 0, len: 64 * K })).toBe(8 * K);
    expect(tracker.changes({ gpa: 4 * K, len: 8 * K }, 'shared')).toEqual([]);
  });

  it('goes page by page through a mixed range, leaving out what is there already', () => {
    const tracker = new PageTracker();
    tracker.set({ gpa: 4 * K, len: 8 * K }, 'shared');
    expect(tracker.changes({ gpa: 0, len: 16 * K }, 'shared')).toEqual([
      { gpa: 0, len: 4 * K },
      { gpa: 12 * K, len: 4 * K },
    ]);
    expect(tracker.changes({ gpa: 0, len: 16 * K }, 'private')).toEqual([
      { gpa: 4 * K, len: 4 * K },
      { gpa: 8 * K, len: 4 * K },
    ]);
  });

  it('cuts at multiples, not at steps from the beginning', () => {
    expect(Array.from(cut({ gpa: 60 * K, len: 72 * K }, 64 * K))).toEqual([
      { gpa: 60 * K, len: 4 * K },
      { gpa: 64 * K, len: 64 * K },
      { gpa: 128 * K, len: 4 * K },
    ]);
    expect(Array.from(cut({ gpa: 4 * K, len: 8 * K }, Infinity))).toEqual([{ gpa: 4 * K, len: 8 * K }]);
  });
});

const PAGES = 48;

/** In pages, as the tests count. */
function change(tracker: PageTracker, page: number, pages: number, to: Side): [number, number][] {
  const section = { gpa: page * PAGE_BYTES, len: pages * PAGE_BYTES };
  const changes = tracker.changes(section, to);
  tracker.set(section, to);
  return changes.map(({ gpa, len }) => [gpa / PAGE_BYTES, len / PAGE_BYTES]);
}

describe('page tracker, set after each change', () => {
  it('has all memory private at first: nothing is to be unmapped', () => {
    expect(change(new PageTracker(), 0, 8, 'private')).toEqual([]);
  });

  it('changes a uniform range at once, and only the first time', () => {
    const tracker = new PageTracker();
    expect(change(tracker, 2, 8, 'shared')).toEqual([[2, 8]]);
    expect(change(tracker, 2, 8, 'shared')).toEqual([]);
    expect(change(tracker, 4, 2, 'private')).toEqual([[4, 2]]);
  });

  it('changes a mixed range page by page, but for those that are there already', () => {
    const tracker = new PageTracker();
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
        const tracker = new PageTracker();
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
