/** The claim of events.sql: in any DuckDB, over a trace exported to Parquet, without anything of cvmtrace but the SQL files. */
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, test } from 'vitest';
import { testFolder } from '../../capture/trace/testing/sample.ts';
import { generateTrace } from '../../datasets/generate.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { sqlTopics, viewSql, viewTopics } from '../db/views.ts';
import { needsState } from '../state/depends.ts';

const folder = testFolder();

/** The order that events.sql gives for the files that others build on. */
const FIRST = ['events', 'ranges', 'units', 'conversions', 'phases'];

test('every view that needs no table of the walk gives the same in a plain DuckDB', async () => {
  const arrow = join(folder, 'trace.arrow');
  const parquet = join(folder, 'trace.parquet');
  await generateTrace(arrow, { rows: 600, seed: 5, memoryBytes: 4 * 2 ** 20, vcpus: 2 });
  await using analysis = await openAnalysis([arrow], { threads: 1 });
  await analysis.copyTo('select * exclude (trace) from events', 'parquet', parquet);
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const plain = await instance.connect();
  const rest = sqlTopics()
    .filter((topic) => !FIRST.includes(topic) && !needsState(topic))
    .sort();
  try {
    await plain.run(`create view _trace_rows as select 0 as trace, * from '${parquet}'`);
    for (const topic of [...FIRST, ...rest]) await plain.run(viewSql(topic));
    const views = viewTopics().filter((topic) => !needsState(topic));
    expect(views).toEqual(expect.arrayContaining(['boot', 'conversions', 'events', 'loss', 'op_latency', 'phases']));
    for (const name of [...views, 'coalescing(1000)']) {
      // As text, because the type of op is an ENUM here and VARCHAR there.
      const sql = `select columns(*)::varchar from ${name} order by all`;
      const theirs = await plain.runAndReadAll(sql);
      const ours = await analysis.query(sql);
      expect(ours.rows.length).toBeGreaterThan(0);
      expect({ name, rows: theirs.getRows() }).toEqual({ name, rows: ours.rows });
    }
  } finally {
    plain.closeSync();
    instance.closeSync();
  }
});
