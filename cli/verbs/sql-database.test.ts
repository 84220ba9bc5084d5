/** The DuckDB file of `sql --database`, opened by DuckDB's own library and nothing of ours. */
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { library } from '../../analyze/index.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { runCli, type CliRun } from '../testing/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-database-'));
const trace = join(folder, 'trace.parquet');
const out = join(folder, 'out.duckdb');

let written: CliRun;
let instance: DuckDBInstance;
let connection: DuckDBConnection;
beforeAll(async () => {
  const moved = join(folder, 'moved.parquet');
  for (const path of [trace, moved])
    copyFileSync(join(PACKAGE_ROOT, 'datasets/record-private-mem-conversions.parquet'), path);
  written = await runCli(['sql', trace, moved, '--database', out, '--json']);
  rmSync(moved);
  instance = await DuckDBInstance.create(out, { access_mode: 'READ_ONLY', enable_external_access: 'false' });
  connection = await instance.connect();
});
afterAll(() => {
  connection.closeSync();
  instance.closeSync();
  rmSync(folder, { recursive: true });
});

async function rows(sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRowsJson();
}

describe('sql --database', () => {
  it('says what it wrote, and leaves nothing else', () => {
    expect(written.status).toBe(0);
    expect(JSON.parse(written.stdout)).toMatchObject({
      schema: 'cvmtrace.sql/1',
      path: out,
      sizeBytes: statSync(out).size,
    });
    expect(readdirSync(folder).toSorted()).toEqual(['out.duckdb', 'trace.parquet']);
  });

  it('has every view of the library, with its rows and what its columns mean', async () => {
    const views = library().filter(({ kind }) => kind === 'view');
    expect(views.length).toBeGreaterThan(10);
    const counts = views.map(
      ({ name }) => `select '${name}' as name, count(*)::varchar as rows from ${name} where trace =`,
    );
    const { stdout } = await runCli([
      'sql',
      '--no-cache',
      '--json',
      trace,
      `${counts.join(' 0 union all ')} 0 order by name`,
    ]);
    const ours = (JSON.parse(stdout) as { readonly rows: readonly { readonly name: string; readonly rows: string }[] })
      .rows;
    expect(await rows(`${counts.join(' 1 union all ')} 1 order by name`)).toEqual(
      ours.map((row) => [row.name, row.rows]),
    );
    for (const { name, columns } of views) {
      const comments = await rows(
        `select comment from duckdb_columns() where table_name = '${name}' and comment is not null order by column_index`,
      );
      expect(comments.flat(), name).toEqual(columns.map(({ meaning }) => meaning));
    }
  });

  it('has its macros', async () => {
    expect(await rows('select trace, count(*) > 0 from page_state_at_seq(60) group by trace order by trace')).toEqual([
      [0, true],
      [1, true],
    ]);
  });

  it('has tables where computing costs, in the order of the rows', async () => {
    const tables = await rows('select table_name from duckdb_tables() order by all');
    expect(tables.flat()).toEqual(expect.arrayContaining(['_sides', 'conversions', 'events', 'op_latency', 'traces']));
    expect(
      await rows(
        'select count(*) from (select trace, seq < lag(seq) over (order by rowid) as back, trace = lag(trace) over (order by rowid) as same from events) where back and same',
      ),
    ).toEqual([['0']]);
  });

  it('answers a query beside, and replaces a file only with --force', async () => {
    const argv = ['sql', trace, 'select 7 as n', '--database', out, '--format', 'csv'];
    expect(await runCli(argv)).toMatchObject({ status: 74, stderr: expect.stringContaining('exists') as string });
    const other = join(folder, 'other.duckdb');
    writeFileSync(other, 'old');
    const { status, stdout, stderr } = await runCli([...argv, '--database', other, '--force']);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'n\n7\n' });
    expect(stderr).toMatch(/other\.duckdb: [\d,]+ rows, /);
    expect(statSync(other).size).toBeGreaterThan(1000);
    const none = join(folder, 'none.duckdb');
    expect((await runCli(['sql', join(folder, 'none.arrow'), '--database', none])).status).toBe(66);
    expect(existsSync(none)).toBe(false);
  });
});
