import { expect, test } from 'vitest';
import { documentedColumns, viewSql, viewTopics } from '../db/views.ts';
import { inlineAnalysis } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

test('the topics are the views that the design names', () => {
  expect(viewTopics().toSorted()).toEqual([
    'boot',
    'conversions',
    'events',
    'loss',
    'memory_over_time',
    'op_latency',
    'page_flips',
    'phases',
    'vcpu_exits',
  ]);
});

test.each(viewTopics())('%s documents the columns that it has, in their order', async (topic) => {
  const actual = await rowsOf([{ op: 'mark' }], `select column_name from (describe ${topic})`);
  expect(documentedColumns(topic).map(({ name }) => name)).toEqual(actual.flat());
});

test.each(viewTopics())('%s makes its own view, and private ones whose names begin with _', (topic) => {
  const made = [...viewSql(topic).matchAll(/^create or replace (?:view|macro) (\w+)/gm)].map(([, name]) => name);
  expect(made).toContain(topic);
  expect(made.filter((name) => name !== topic && !name?.startsWith('_'))).toEqual([]);
});
