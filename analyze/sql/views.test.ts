import { expect, test } from 'vitest';
import { library } from '../db/library.ts';
import { sqlTopics, viewSql, viewTopics } from '../db/views.ts';
import { inlineAnalysis } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();
const items = library();

test('the views are those that the design names', () => {
  expect(viewTopics().toSorted()).toEqual([
    'boot',
    'conversions',
    'dma_live',
    'dma_mappings',
    'events',
    'guest_requests',
    'hazards',
    'loss',
    'memory_over_time',
    'memslots',
    'op_latency',
    'page_flips',
    'page_stays',
    'phases',
    'run_sizes',
    'vaddr_windows',
    'vcpu_exits',
  ]);
});

test.each(items.filter(({ kind }) => kind === 'view' || kind === 'table macro'))(
  '$name documents the columns that it has, in their order',
  async ({ name, kind, columns }) => {
    const actual = await rowsOf(
      [{ op: 'mark' }],
      `select column_name from (describe select * from ${kind === 'view' ? name : `${name}(1)`})`,
    );
    expect(columns.map((column) => column.name)).toEqual(actual.flat());
    expect(columns.filter(({ meaning }) => meaning === '')).toEqual([]);
  },
);

test.each(items.filter(({ kind }) => kind !== 'query'))(
  'the example of $name runs, as SQL and as a shell reads it',
  async ({ name, sql }) => {
    expect(sql).toContain(name);
    expect(sql).not.toMatch(/["$`\\!]/);
    await rowsOf([{ op: 'mark' }], sql);
  },
);

test.each(items)('$name has one sentence', ({ summary }) => {
  expect(summary).toMatch(/^\S.*[.?]$/);
  expect(summary.length).toBeLessThan(200);
});

test.each(sqlTopics())('%s makes its own view or macro, and what has no comment begins with _', (topic) => {
  const made = [...viewSql(topic).matchAll(/^create or replace (?:view|macro) (\w+)/gm)].map(([, name = '']) => name);
  const documented = items.filter(({ file }) => file === `${topic}.sql`).map(({ name }) => name);
  expect(made.filter((name) => !name.startsWith('_')).toSorted()).toEqual(documented.toSorted());
  expect(documented.length).toBeGreaterThan(0);
});
