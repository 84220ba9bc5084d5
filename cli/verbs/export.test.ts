import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { tableFromIPC } from 'apache-arrow';
import polars from 'nodejs-polars';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import { decodePerfetto } from '../../analyze/perfetto/testing/decode.ts';
import { timelineOf } from '../../analyze/perfetto/testing/timeline.ts';
import { METADATA_KEY } from '../../capture/trace/index.ts';
import { expectGolden } from '../testing/golden.ts';
import { runCli, type CliRun } from '../testing/run-cli.ts';
import { SAMPLE_METADATA, writeSampleTrace } from '../testing/sample-trace.ts';

let folder: string;
const at = (...names: string[]): string => join(folder, ...names);

/** Folder of the sample's host in a partitioned data set. */
const HOST = join('host=Test%20CPU', 'kernel=6.18.0');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  await writeSampleTrace(at('boot.arrow'));
  await writeSampleTrace(at('log.arrow'), { ...SAMPLE_METADATA, host: null, source: 'import' });
  // The same rows from the last to the first, some without a time.
  await using analysis = await openAnalysis([at('boot.arrow')], { threads: 1 });
  const query = `select * exclude (trace, lag_ns) replace (if(op = 'ram_touch', null, ts_ns) as ts_ns) from events order by seq desc`;
  await analysis.copyTo(query, 'parquet', at('backward.parquet'), {
    metadata: { [METADATA_KEY]: JSON.stringify(SAMPLE_METADATA) },
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function golden(name: string, argv: readonly string[]): Promise<CliRun> {
  const run = await runCli(argv);
  expectGolden(name, run, (text) => text.replaceAll(folder, 'DIR').replace(/\S+ KiB/g, 'SIZE'));
  expect(run.status).toBe(0);
  return run;
}

describe('rows', () => {
  test.each(['arrow', 'parquet'])('are in order in %s, where the file was not', async (to) => {
    const out = at(`forward.${to}`);
    expect(await runCli(['export', at('backward.parquet'), '--to', to, '-o', out])).toMatchObject({ status: 0 });
    expect(await runCli(['verify', out])).toMatchObject({ status: 0 });
    const table = to === 'arrow' ? tableFromIPC(readFileSync(out)) : undefined;
    const frame = to === 'parquet' ? polars.readParquet(out) : undefined;
    const seq = [...((table?.getChild('seq') ?? frame?.getColumn('seq')) as Iterable<bigint | number>)].map(Number);
    expect(seq).toEqual([...seq.keys()]);
    expect(seq.length).toBe(294);
    if (table) expect(JSON.parse(table.schema.metadata.get(METADATA_KEY) ?? '')).toEqual(SAMPLE_METADATA);
  });
});

describe('--partition', () => {
  const partition = (dir: string, ...traces: string[]): string[] => [
    ...['export', ...traces.map((name) => at(name))],
    ...['--to', 'parquet', '--partition', '-o', at(dir)],
  ];

  test('writes a data set that other tools read as one table, of files that are traces', async () => {
    // A folder that looks like a column of the trace: readers take it for one, cvmtrace does not.
    await golden('export-partition', partition('len=5', 'boot.arrow', 'log.arrow'));
    const files = [join(HOST, 'boot.parquet'), join('host=unknown', 'kernel=unknown', 'log.parquet')];
    const all = at('len=5', '**', '*.parquet');
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
    const plain = await instance.connect();
    try {
      const read = await plain.runAndReadAll(
        `select host, kernel, count(*), count(lag_ns) from read_parquet('${all}', hive_partitioning = true) group by all order by all`,
      );
      expect(read.getRows()).toEqual([
        ['Test CPU', '6.18.0', 294n, 0n],
        ['unknown', 'unknown', 294n, 0n],
      ]);
    } finally {
      plain.closeSync();
      instance.closeSync();
    }
    const frame = polars.scanParquet(all, { hivePartitioning: true }).select('host', 'kernel', 'seq').collectSync();
    expect(new Set(frame.getColumn('host'))).toEqual(new Set(['Test CPU', 'unknown']));
    expect(frame.height).toBe(588);
    const verified = await runCli(['verify', ...files.map((file) => at('len=5', file))]);
    expect(verified).toMatchObject({ status: 0, stderr: '' });
    const bytes = (path: string) => runCli(['sql', path, 'select sum(len) from events', '--format', 'csv']);
    expect((await bytes(at('len=5', HOST, 'boot.parquet'))).stdout).toBe((await bytes(at('boot.arrow'))).stdout);
  });

  test('adds to a data set, but not over a file that is there', async () => {
    expect(await runCli(partition('set', 'boot.arrow'))).toMatchObject({ status: 0 });
    const file = at('set', HOST, 'boot.parquet');
    const before = readFileSync(file);
    writeFileSync(file, 'mine');
    const refused = await runCli(partition('set', 'log.arrow', 'boot.arrow'));
    expect(refused).toMatchObject({ status: 74, stdout: '' });
    expect(refused.stderr).toContain(`${file} exists`);
    expect(readdirSync(at('set'))).toEqual(['host=Test%20CPU']);
    const json = await runCli([...partition('set', 'log.arrow', 'boot.arrow'), '--force', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({
      schema: 'cvmtrace.export/1',
      path: at('set'),
      format: 'parquet',
      files: [
        { trace: at('log.arrow'), rows: 294 },
        { trace: at('boot.arrow'), path: file, rows: 294, sizeBytes: before.length },
      ],
    });
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(readdirSync(at('set', HOST))).toEqual(['boot.parquet']);
  });

  test('leaves no folder behind where it fails', async () => {
    const same = await runCli(partition('none', 'boot.arrow', './boot.arrow'));
    expect(same).toMatchObject({ status: 2 });
    expect(same.stderr).toContain('would both be');
    expect(existsSync(at('none'))).toBe(false);
    expect(await runCli(partition('half', 'boot.arrow'))).toMatchObject({ status: 0 });
    writeFileSync(at('half', 'host=unknown'), '');
    const failed = await runCli(partition('half', 'log.arrow'));
    expect(failed).toMatchObject({ status: 74 });
    expect(failed.stderr).toContain('cannot make the folder');
    expect(readFileSync(at('half', 'host=unknown'), 'utf8')).toBe('');
  });
});

describe('perfetto', () => {
  test('is decoded with the schema, and has every row', async () => {
    const run = await golden('export-perfetto', [
      'export',
      at('boot.arrow'),
      '--to',
      'perfetto',
      '-o',
      at('boot.pftrace'),
    ]);
    expect(run.stdout).toContain('ui.perfetto.dev');
    const bytes = readFileSync(at('boot.pftrace'));
    const { events, counters } = timelineOf(decodePerfetto(bytes));
    // All but trace_end; the marks are phases.
    expect(events.length).toBe(293);
    expect([...new Set(events.map(({ track }) => track))]).toEqual([
      'VMM thread 100/101',
      'phases',
      'guest 100 > vCPU 0',
      'guest 100 > vCPU 1',
      'lost events',
    ]);
    expect([...counters.keys()].sort()).toEqual(['guest memory > private', 'guest memory > shared']);
    expect((await runCli(['export', at('boot.arrow'), '--to', 'perfetto', '-o', '-'])).bytes.equals(bytes)).toBe(true);
  });

  test('says how many rows have no time', async () => {
    const run = await runCli(['export', at('backward.parquet'), '--to', 'perfetto', '-o', at('x.pftrace'), '--json']);
    expect(run.status).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({
      format: 'perfetto',
      rows: 294,
      rowsWithoutTime: 40,
      warnings: ['40 rows without a time left out'],
    });
  });
});

test.each([
  [['a.arrow', 'b.arrow', '--to', 'csv', '-o', 'c'], 'one trace becomes one file'],
  [['boot.arrow', '--to', 'csv', '--partition', '-o', 'c'], '--partition writes Parquet'],
  [['boot.arrow', '--to', 'parquet', '--partition', '-o', '-'], '--partition writes Parquet'],
])('%j is a usage error', async (argv, message) => {
  const run = await runCli(['export', ...argv]);
  expect(run).toMatchObject({ status: 2, stdout: '' });
  expect(run.stderr).toContain(message);
});

test('perfetto is not for a terminal', async () => {
  const run = await runCli(['export', at('boot.arrow'), '--to', 'perfetto', '-o', '-'], { terminalColumns: 80 });
  expect(run).toMatchObject({ status: 2, stdout: '' });
});
