import { describe, expect, it } from 'vitest';
import { cutSection, PageTracker } from './page-tracker.ts';

const K = 1024;

describe('page tracker', () => {
  it('begins all private and tells of changes only', () => {
    const tracker = new PageTracker(64 * K);
    expect(tracker.changes({ gpa: 0, len: 64 * K }, 'private')).toEqual([]);
    expect(tracker.changes({ gpa: 8 * K, len: 16 * K }, 'shared')).toEqual([{ gpa: 8 * K, len: 16 * K }]);
  });

  it('changes nothing before it is set', () => {
    const tracker = new PageTracker(64 * K);
    tracker.changes({ gpa: 0, len: 64 * K }, 'shared');
    expect(tracker.sharedBytes({ gpa: 0, len: 64 * K })).toBe(0);
    tracker.set({ gpa: 4 * K, len: 8 * K }, 'shared');
    expect(tracker.sharedBytes({ gpa: 0, len: 64 * K })).toBe(8 * K);
    expect(tracker.changes({ gpa: 4 * K, len: 8 * K }, 'shared')).toEqual([]);
  });

  it('goes page by page through a mixed range, leaving out what is there already', () => {
    const tracker = new PageTracker(64 * K);
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
    expect(cutSection({ gpa: 60 * K, len: 72 * K }, 64 * K)).toEqual([
      { gpa: 60 * K, len: 4 * K },
      { gpa: 64 * K, len: 64 * K },
      { gpa: 128 * K, len: 4 * K },
    ]);
    expect(cutSection({ gpa: 4 * K, len: 8 * K }, Infinity)).toEqual([{ gpa: 4 * K, len: 8 * K }]);
  });
});
