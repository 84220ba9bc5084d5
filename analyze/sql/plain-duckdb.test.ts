/** The claim of events.sql: in any DuckDB, over a trace exported to Parquet, without anything of cvmtrace but the SQL files. */
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, test } from 'vitest';
import { testFolder } from '../../capture/trace/testing/sample.ts';
import { generateTrace } from '../../datasets/generate.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { viewSql, viewTopics } from '../db/views.ts';

const folder = testFolder();

test('every view gives the same in a plain DuckDB', async () => {
  const arrow = join(folder, 'trace.arrow');
  const parquet = join(folder, 'trace.parquet');
  await generateTrace(arrow, { rows: 600, seed: 5, memoryBytes: 4 * 2 ** 20, vcpus: 2 });
  await using analysis = await openAnalysis([arrow], { threads: 1 });
  await analysis.copyTo('select * exclude (trace) from events', 'parquet', parquet);
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const plain = await instance.connect();
  try {
    await plain.run(`create view _trace_rows as select 0 as trace, * from '${parquet}'`);
    for (const topic of viewTopics()) await plain.run(viewSql(topic));
    for (const topic of viewTopics()) {
      // As text, because the type of op is an ENUM here and VARCHAR there.
      const sql = `select columns(*)::varchar from ${topic} order by all`;
      const theirs = await plain.runAndReadAll(sql);
      const ours = await analysis.query(sql);
      expect(ours.rows.length).toBeGreaterThan(0);
      expect({ topic, rows: theirs.getRows() }).toEqual({ topic, rows: ours.rows });
    }
  } finally {
    plain.closeSync();
    instance.closeSync();
  }
});
