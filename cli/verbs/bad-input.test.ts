import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ExitStatus } from '../exit-status.ts';
import { runCli, type CliRun } from '../testing/run-cli.ts';
import { SAMPLE_METADATA, writeSampleTrace } from '../testing/sample-trace.ts';

let folder: string;

/** Files by what is wrong with them; "good" is a whole trace. */
const FILES: Record<string, string> = {};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  const make = (name: string, content?: string | Buffer): string => {
    const path = join(folder, `${name}.arrow`);
    if (content !== undefined) writeFileSync(path, content);
    return (FILES[name] = path);
  };
  await writeSampleTrace(make('good'));
  const bytes = readFileSync(join(folder, 'good.arrow'));
  make('missing');
  make('empty', '');
  make('foreign', 'time,what\n1,2\n');
  make('not-parquet', 'PAR1 but nothing else PAR1');
  make('truncated', bytes);
  truncateSync(join(folder, 'truncated.arrow'), bytes.length - 100);
  make('newer', newerVersion(bytes));
  mkdirSync(make('folder'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The same file with a major version 9 in its metadata, which the schema's message and the footer both hold. */
function newerVersion(bytes: Buffer): Buffer {
  const { major } = SAMPLE_METADATA.format;
  const text = bytes.toString('latin1').replaceAll(`"major":${major}`, '"major":9');
  return Buffer.from(text, 'latin1');
}

function expectFailure(run: CliRun, status: number, message: RegExp): void {
  const lines = run.stderr.replaceAll(folder, 'DIR').split('\n');
  expect(lines, run.stderr).toHaveLength(3);
  expect(lines[0]).toMatch(/^cvmtrace( [a-z]+)?: /);
  expect(lines[0]).toMatch(message);
  expect(lines[1]).toMatch(/^hint: \S.{5,}/);
  expect(lines[2]).toBe('');
  expect(run.status).toBe(status);
  expect(run.stdout).toBe('');
}

const READERS = [
  ['info', (path: string) => ['info', path]],
  ['sql', (path: string) => ['sql', path, 'select 1']],
  ['analyze', (path: string) => ['analyze', path]],
  ['export', (path: string) => ['export', path, '--to', 'csv', '-o', '-']],
] as const;

describe.each(READERS)('%s', (_verb, argv) => {
  test.each([
    ['missing', ExitStatus.noInput, /no such file|is not there|does not exist/],
    ['empty', ExitStatus.badInput, /is empty/],
    ['foreign', ExitStatus.badInput, /not a trace/],
    ['not-parquet', ExitStatus.badInput, /cannot be read as Parquet/],
    ['newer', ExitStatus.badInput, /format 9/],
    ['folder', ExitStatus.badInput, /folder|directory/],
  ])('of a file that is %s', async (name, status, message) => {
    expectFailure(await runCli(argv(FILES[name] ?? '')), status, message);
  });

  test('of a truncated trace warns and goes on', async () => {
    const run = await runCli(argv(FILES['truncated'] ?? ''));
    expect(run.stderr.replaceAll(folder, 'DIR')).toMatch(
      /^cvmtrace [a-z]+: warning: DIR\/truncated.arrow is truncated.*\n$/,
    );
    expect(run.status).toBe(ExitStatus.done);
  });
});

describe('sql', () => {
  test.each([
    ['selekt 1', ExitStatus.usage, /syntax error/],
    ['select nothing from events', ExitStatus.usage, /nothing/],
    ['select * from evens', ExitStatus.usage, /evens/],
    ['', ExitStatus.usage, /no SQL statement/],
    ["select * from read_csv('/etc/passwd')", ExitStatus.usage, /may not reach files/],
    ["copy events to '/tmp/cvmtrace-stolen.csv'", ExitStatus.usage, /may not reach files/],
    ["select * from 'https://example.com/a.parquet'", ExitStatus.usage, /may not reach files|network/],
    ["attach '/tmp/cvmtrace-stolen.db'", ExitStatus.usage, /may not reach files|attach/i],
    ['install httpfs', ExitStatus.usage, /may not reach files|install/i],
    ['set enable_external_access = true', ExitStatus.usage, /lock|configuration|external/],
    ["select * from read_trace('/tmp/other.arrow')", ExitStatus.usage, /read_trace/],
  ])('%j fails', async (query, status, message) => {
    expectFailure(await runCli(['sql', FILES['good'] ?? '', query]), status, message);
  });

  test.each([
    [[], /no trace given/],
    [['select 1'], /no trace given/],
    [['good'], /no query: the last argument, DIR\/good.arrow, is a trace/],
    [['good', 'gone.arrow'], /no query/],
    [['good', 'select 1', '--format', 'xml'], /argument 'xml' is invalid/],
    [['good', 'select 1', '--json', '--format', 'csv'], /contradict/],
    [['good', 'select 1', '--max-rows', 'all'], /--max-rows: "all" is not a whole number/],
    [['good', 'select 1', '--fromat', 'csv'], /unknown option '--fromat'/],
  ])('%j is a usage error', async (argv, message) => {
    const run = await runCli(['sql', ...argv.map((argument) => FILES[argument] ?? argument)]);
    expectFailure(run, ExitStatus.usage, message);
  });

  test('a query file that is not there', async () => {
    const run = await runCli(['sql', FILES['good'] ?? '', '-f', join(folder, 'none.sql')]);
    expectFailure(run, ExitStatus.noInput, /no such file/);
  });

  test.each(['arrow', 'parquet'])('%s is not written to a terminal', async (format) => {
    const run = await runCli(['sql', FILES['good'] ?? '', 'select 1', '--format', format], { terminalColumns: 80 });
    expectFailure(run, ExitStatus.usage, /would garble the terminal/);
  });
});

describe.each([
  ['sql', (out: string) => ['sql', FILES['good'] ?? '', 'select 1', '--format', 'csv', '-o', out]],
  ['sql parquet', (out: string) => ['sql', FILES['good'] ?? '', 'select 1', '--format', 'parquet', '-o', out]],
  ['export csv', (out: string) => ['export', FILES['good'] ?? '', '--to', 'csv', '-o', out]],
  ['export parquet', (out: string) => ['export', FILES['good'] ?? '', '--to', 'parquet', '-o', out]],
  ['recover', (out: string) => ['recover', FILES['truncated'] ?? '', '-o', out]],
])('%s -o OUT', (_name, argv) => {
  test('refuses a file that exists, and leaves nothing else', async () => {
    const out = join(folder, 'out');
    writeFileSync(out, 'precious');
    const before = readdirSync(folder);
    expectFailure(await runCli(argv(out)), ExitStatus.io, /exists/);
    expect(readFileSync(out, 'utf8')).toBe('precious');
    expect(readdirSync(folder)).toEqual(before);
    expect((await runCli([...argv(out), '--force', '--quiet'])).status).toBe(ExitStatus.done);
    expect(readFileSync(out, 'utf8')).not.toBe('precious');
    rmSync(out);
  });

  test('in a folder that is not there', async () => {
    expectFailure(await runCli(argv(join(folder, 'none', 'out'))), ExitStatus.io, /none/);
  });
});

test('a failing query leaves no output file', async () => {
  const out = join(folder, 'failed.csv');
  const before = readdirSync(folder);
  // The error comes with the last row, after the first were written.
  const query = "select case when i = 99999 then error('late') else i end from range(100000) t(i)";
  const run = await runCli(['sql', FILES['good'] ?? '', query, '--format', 'csv', '-o', out]);
  expectFailure(run, ExitStatus.usage, /late/);
  expect(readdirSync(folder)).toEqual(before);
});

test.each([
  [['recover', 'good', '-o', 'x'], ExitStatus.usage, /nothing to recover/],
  [['recover', 'missing', '-o', 'x'], ExitStatus.noInput, /missing/],
  [['recover', 'foreign', '-o', 'x'], ExitStatus.badInput, /not a trace/],
  [['recover', 'truncated'], ExitStatus.usage, /required option '-o, --out <out>' not specified/],
  [['recover', 'truncated', '-o', '-'], ExitStatus.usage, /standard output/],
  [['export', 'good', '--to', 'xml', '-o', 'x'], ExitStatus.usage, /'xml' is invalid. Allowed choices are parquet/],
  [['export', 'good', '-o', 'x'], ExitStatus.usage, /required option '--to <format>'/],
  [['exprot', 'good'], ExitStatus.usage, /unknown verb 'exprot'/],
])('%j', async (argv, status, message) => {
  const run = await runCli(
    argv.map((argument) => (argument === 'x' ? join(folder, 'x') : (FILES[argument] ?? argument))),
  );
  expectFailure(run, status, message);
});

describe('run, with options that do not go together', () => {
  test.each([
    [['swiotlb', '--device', '0000:00:01.0'], /--device without a use for it/],
    [['swiotlb', '--dma', 'mock', '--device', '3'], /--device without a use for it/],
    [['swiotlb', '--bind-device'], /--bind-device without a use for it/],
    [['swiotlb', '--dma', 'type2'], /no DMA interface "type2"/],
    [['swiotlb', '--vcpus', '2'], /--vcpus needs --guest/],
    [['swiotlb', '--scenario', 'discard'], /not both/],
    [[], /what is to run/],
    [['--scenario', 'discart'], /no scenario "discart"/],
    [['--scenario', 'discard', '--memory', '1G'], /a scenario has no --memory/],
    [['--scenario', 'discard', '--param', 'rounds=none'], /rounds/],
  ])('%j', async (argv, message) => {
    const out = join(folder, 'never.arrow');
    expectFailure(await runCli(['run', ...argv, '-o', out]), ExitStatus.usage, message);
    expect(readdirSync(folder)).not.toContain('never.arrow');
  });
});
