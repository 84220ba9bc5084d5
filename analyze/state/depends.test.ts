import { expect, test } from 'vitest';
import { needsExpensive, needsState } from './depends.ts';

test.each([
  'select * from dma_mappings',
  'SELECT * FROM "Hazards"',
  'from page_state_at_seq(5)',
  'select * from _sides',
  // An apostrophe in a comment or a name begins no text.
  "-- the kernel's own\nselect * from hazards -- it's all",
  "/* the VMM's */ from dma_live where api = 'type1'",
  `select 1 as "o'clock", * from dma_live`,
  "select 'it''s' as a, * from dma_live",
  // Names in texts, and texts that end otherwise.
  "from query_table('dma_live')",
  "select e'it\\'s', * from dma_live",
  "select $$it's$$, * from dma_live",
])('needs the state: %s', (sql) => {
  expect(needsState(sql)).toBe(true);
});

test.each([
  'select * from events',
  'from conversions',
  "from read_trace('hazards.arrow')",
  "select 'of the hazards' from phases -- no hazards",
  '/* dma_live */ from op_latency',
])('needs no state: %s', (sql) => {
  expect(needsState(sql)).toBe(false);
});

test('conversions are expensive, and so is all that needs the state', () => {
  for (const sql of ['from conversions', 'from boot', 'from hazards'])
    expect({ sql, is: needsExpensive(sql) }).toEqual({ sql, is: true });
  expect(needsExpensive('from op_latency')).toBe(false);
});
