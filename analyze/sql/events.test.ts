import { expect, test } from 'vitest';
import { COLUMNS } from '../../capture/trace/schema.ts';
import { inlineAnalysis } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

test('events has the columns of the format behind the number of the trace', async () => {
  const columns = await rowsOf([{ op: 'mark' }], 'select column_name from (describe events)');
  expect(columns.flat()).toEqual(['trace', ...COLUMNS.map(({ name }) => name)]);
});

test('a range that would pass 2^64 has no end', async () => {
  const rows = await rowsOf(
    [{ op: 'mark' }],
    'select _past(5, 3)::integer, _past(18446744073709551615, 1), _past(null, 1)',
  );
  expect(rows).toEqual([[8, null, null]]);
});

test('a size class is the smallest power of 4 pages that holds the range', async () => {
  const sizes = [1, 4096, 4097, 16384, 16385, 2 ** 21, 2 ** 52];
  const rows = await rowsOf(
    [{ op: 'mark' }],
    `select _cell_bits(size::ubigint) from unnest([${sizes.join(', ')}]) as s(size)`,
  );
  expect(rows.flat()).toEqual([12, 12, 14, 14, 16, 22, 52]);
});
