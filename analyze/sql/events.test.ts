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

test('a span of numbers is cut into nodes of the tree that have each of its numbers once, and no other', async () => {
  const rows = await rowsOf(
    [{ op: 'mark' }],
    `select first, past, list(n order by n) = range(first, past) and count(*) = past - first and max(nodes) <= 2
     from (
       select first, past, unnest(range(node << level, (node + 1) << level)) as n, nodes
       from (
         select first, past, level, unnest(_tree_nodes(first, past, level)) as node, len(_tree_nodes(first, past, level)) as nodes
         from (
           select first, past, unnest(_tree_levels(past - first)) as level
           from range(20) a(first), range(first + 1, 40) b(past)
         )
       )
     )
     group by first, past`,
  );
  expect(rows.length).toBe(590);
  expect(rows.filter(([, , whole]) => whole !== true)).toEqual([]);
});
