import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { METADATA_KEY } from '../../capture/trace/schema.ts';
import { testFolder, writeTrace } from '../../capture/trace/testing/sample.ts';
import { rejectedBy } from '../testing/rejected-by.ts';
import type { Analysis } from './analysis.ts';
import { openAnalysis } from './open-analysis.ts';

const folder = testFolder();
const parquet = join(folder, 'trace.parquet');
let analysis: Analysis;
let before: Buffer;

beforeAll(async () => {
  const arrow = join(folder, 'trace.arrow');
  await writeTrace(arrow, 100, 50);
  await using of = await openAnalysis([arrow], { threads: 1 });
  const metadata = { [METADATA_KEY]: JSON.stringify(of.traces[0]?.metadata) };
  await of.copyTo('select * exclude (trace) from events', 'parquet', parquet, { metadata });
  before = readFileSync(parquet);
  analysis = await openAnalysis([parquet], { threads: 1 });
});
afterAll(() => analysis.close());

const OVER = `to '${parquet}' (format csv, use_tmp_file false)`;

describe('a trace that SQL may read', () => {
  test.each([
    `copy (select 1) ${OVER}`,
    `select 1; copy (select 1) ${OVER}`,
    `/**/ CoPy (select 1) ${OVER}`,
    `explain analyze copy (select 1) ${OVER}`,
    `prepare p as copy (select 1) ${OVER}; execute p`,
    `attach '${parquet}' as other`,
    `attach ':memory:' as other`,
    'detach work',
    'copy from database work to temp',
    `call enable_logging(storage = 'file', storage_path = '${folder}/log')`,
    `from enable_profiling(save_location = '${folder}/profile.txt')`,
  ])('is not written: %s', async (sql) => {
    const error = await rejectedBy(() => analysis.query(sql), 'USAGE');
    expect(error.message).not.toContain('\n');
    expect(readFileSync(parquet).equals(before)).toBe(true);
  });

  test.each([
    `select 1) ${OVER}; (select 1`,
    `select 1) ${OVER}; --`,
    `select 1); copy (select 1) ${OVER}; describe (select 1`,
  ])('is not written through the query of a copy: %s', async (sql) => {
    await rejectedBy(() => analysis.copyTo(sql, 'csv', join(folder, 'out.csv')), 'USAGE');
    expect(readFileSync(parquet).equals(before)).toBe(true);
  });

  test.each([
    'create temp table t as select 1 as n; insert into t values (2); select sum(n) from t',
    'explain analyze select count(*) from events',
    "set variable x = 'copy'; select getvariable('x')",
    'describe events',
    'pivot (select 1 as a, 2 as b) on a using sum(b)',
  ])('can be asked: %s', async (sql) => {
    expect((await analysis.query(sql)).rows).not.toEqual([]);
  });
});
