/** What holds of every documented query; that each answers rightly is in the tests beside this one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OPS, PACKAGE_ROOT } from '../../../native/index.ts';
import type { Analysis } from '../../db/analysis.ts';
import { libraryQueries, QUESTIONS_DIR } from '../../db/library.ts';
import { openAnalysis } from '../../db/open-analysis.ts';
import { inlineSql, type InlineRow } from '../../testing/inline-rows.ts';

const queries = libraryQueries();
const LARGEST = 2n ** 64n - 1n;

/** For each operation: numbers that no kernel writes, a failure with some of them, a sound row in another trace, and nothing known at all. */
const HOSTILE = OPS.flatMap((op): InlineRow[] => [
  {
    ...{ op, obj: 1, vcpu: 0, ts_ns: LARGEST, dur_ns: LARGEST, gpa: LARGEST, hva: LARGEST, iova: LARGEST },
    ...{ offset: LARGEST, len: LARGEST, attrs: LARGEST, flags: 0, result: -1 },
  },
  { op, obj: 1, gpa: 0, iova: 0, len: LARGEST, attrs: 0, errno: 11, result: 2n ** 63n - 1n },
  {
    op,
    obj: 1,
    ts_ns: 5,
    dur_ns: 5,
    gpa: 4096,
    iova: 4096,
    hva: 4096,
    offset: 0,
    len: 4096,
    attrs: 8,
    flags: 3,
    trace: 1,
  },
  { op },
]);

let analysis: Analysis;
beforeAll(async () => {
  analysis = await openAnalysis([], { threads: 1 });
  await analysis.query(`create or replace view _trace_rows as ${inlineSql(HOSTILE)}`);
});
afterAll(() => analysis.close());

test.each(queries)(
  '$name answers whatever the rows are, with the columns that it documents',
  async ({ sql, columns }) => {
    const result = await analysis.query(sql);
    expect(columns.map(({ name }) => name)).toEqual(result.columns.map(({ name }) => name));
  },
);

test('the questions are numbered from 1, and each is one', () => {
  expect(queries.map(({ number }) => number)).toEqual(Array.from({ length: 28 }, (_, i) => i + 1));
  for (const { summary } of queries) expect(summary).toMatch(/^[A-Z].*\?$/);
});

test('each is tested with rows of which the answer is known', () => {
  const tests = ['dma', 'conversions', 'memory']
    .map((topic) => readFileSync(join(QUESTIONS_DIR, `${topic}.test.ts`), 'utf8'))
    .join('\n');
  for (const { name } of queries) expect(tests).toContain(`answer('${name}', `);
});

test('the scenarios and strategies that are named beside a query are there', () => {
  const readme = readFileSync(join(PACKAGE_ROOT, 'README.md'), 'utf8');
  for (const line of queries.flatMap(({ also }) => also)) {
    expect(line).toMatch(/^cvmtrace (replay|run|sql|compare) /);
    const [, strategies, scenario] = /--strategy (\S+)|--scenario (\S+)/.exec(line) ?? [];
    for (const name of (strategies ?? scenario ?? '').split(',').filter(Boolean))
      expect(readme).toContain(`\`${name}\``);
  }
});
