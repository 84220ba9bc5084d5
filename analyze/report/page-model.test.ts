import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';
import { PageModel, TooMuchMemoryError, type MemoryTotals } from './page-model.ts';

const { rowsOf } = inlineAnalysis();

const PAGE = 4096;

/** A change of some pages in 4 blocks of 2 MiB. */
const change = fc.record({
  kind: fc.constantFrom('to_private', 'to_shared', 'hold_private', 'hold_shared', 'drop_private', 'drop_shared'),
  page: fc.nat(2047),
  pages: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 1500 })),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function rowOf({ kind, page, pages }: Change): InlineRow {
  const range = { gpa: page * PAGE, len: pages * PAGE };
  switch (kind) {
    case 'to_private':
    case 'to_shared':
      return { op: 'exit_map_gpa_range', ...range, attrs: kind === 'to_private' ? 0x10 : 0, result: 0 };
    case 'hold_private':
      return { op: 'gmem_allocate', obj: 3, ...range };
    case 'hold_shared':
      return { op: 'ram_allocate', obj: 2, ...range };
    case 'drop_private':
      return { op: 'gmem_punch_hole', obj: 3, ...range };
    case 'drop_shared':
      return { op: 'ram_punch_hole', obj: 2, ...range };
  }
}

function apply(model: PageModel, { kind, page, pages }: Change): void {
  const gpa = page * PAGE;
  const past = gpa + pages * PAGE;
  if (kind === 'to_private' || kind === 'to_shared') model.convert(gpa, past, kind === 'to_private');
  else model.hold(gpa, past, kind.endsWith('private'), kind.startsWith('hold'));
}

test('says after every change what memory_over_time says, and at the end what page_flips says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 25 }), async (changes) => {
      const model = new PageModel();
      const expected: number[][] = [];
      let before = '[0,0,0,0,0]';
      for (const [seq, next] of changes.entries()) {
        apply(model, next);
        const totals = numbers(model.totals);
        if (JSON.stringify(totals) !== before) expected.push([seq, ...totals]);
        before = JSON.stringify(totals);
      }
      const rows = changes.map(rowOf);
      const columns = 'private_bytes, shared_bytes, private_held_bytes, shared_held_bytes, doubly_held_bytes';
      expect(await rowsOf(rows, `select seq, ${columns} from memory_over_time order by seq`)).toEqual(expected);
      const histogram = await rowsOf(
        rows,
        'select flips, sum(len)::bigint from page_flips group by flips order by flips',
      );
      expect(model.flipHistogram().map(({ flips, bytes }) => [flips, bytes])).toEqual(histogram);
    }),
    { numRuns: 12, seed: 7 },
  );
});

function numbers(totals: Readonly<MemoryTotals>): number[] {
  const { privateBytes, sharedBytes, privateHeldBytes, sharedHeldBytes, doublyHeldBytes } = totals;
  return [privateBytes, sharedBytes, privateHeldBytes, sharedHeldBytes, doublyHeldBytes];
}

describe('the ranges that flipped most', () => {
  test('join pages that are adjacent, across blocks too, and come most flips first', () => {
    const model = new PageModel();
    model.convert(0, 1024 * PAGE, true);
    for (const toPrivate of [false, true]) model.convert(510 * PAGE, 514 * PAGE, toPrivate);
    model.convert(100 * PAGE, 101 * PAGE, false);
    model.convert(4096 * PAGE, 4097 * PAGE, false);
    expect(model.mostFlipped(10)).toEqual([
      { gpa: 510 * PAGE, len: 4 * PAGE, flips: 2 },
      { gpa: 100 * PAGE, len: PAGE, flips: 1 },
    ]);
    expect(model.mostFlipped(1)).toEqual([{ gpa: 510 * PAGE, len: 4 * PAGE, flips: 2 }]);
  });
});

describe('bounds', () => {
  test('ranges that are not whole pages count whole pages', () => {
    const model = new PageModel();
    model.convert(100, 5000, true);
    expect(model.totals.privateBytes).toBe(2 * PAGE);
  });

  test('a range larger than any guest is refused at once', () => {
    expect(() => new PageModel().convert(0, 2 ** 52, true)).toThrow(TooMuchMemoryError);
  });
});
