/** What only a real process shows: exit statuses, pipes, signals, and that it ends. They run `dist/`, which `npm test` builds. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../native/index.ts';
import { packageVersion } from './program.ts';
import { writeSampleTrace } from './testing/sample-trace.ts';

const MAIN = join(PACKAGE_ROOT, 'dist', 'cli', 'main.js');

let folder: string;
let trace: string;

beforeAll(async () => {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is not built: npm run build`);
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  trace = join(folder, 'sample.arrow');
  await writeSampleTrace(trace);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a shell command in which "$0" is node and "$1" the command line's main file. */
function shell(script: string, onOutput?: (kill: (signal: NodeJS.Signals) => void) => void): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', script, process.execPath, MAIN, trace], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (stdout === '') onOutput?.((signal) => child.kill(signal));
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
}

test('--version, and the process ends', async () => {
  expect(await shell('"$0" "$1" --version')).toEqual({
    status: 0,
    signal: null,
    stdout: `${packageVersion()}\n`,
    stderr: '',
  });
});

test('a usage error exits with 2', async () => {
  expect(await shell('"$0" "$1" inof')).toMatchObject({
    status: 2,
    stdout: '',
    stderr: "cvmtrace: unknown verb 'inof'\nhint: did you mean info?\n",
  });
});

test('with the addon loaded the process ends', async () => {
  expect(await shell('"$0" "$1" probe --json > /dev/null')).toMatchObject({ status: 0, stderr: '' });
});

test('a reader that goes away ends it quietly with 0', async () => {
  const query = 'select i, repeat(chr(65), 100) from range(10000000) t(i)';
  const run = await shell(`"$0" "$1" sql "$2" '${query}' --format csv | head -1; exit "\${PIPESTATUS[0]}"`);
  expect(run).toMatchObject({ status: 0, stderr: '' });
  expect(run.stdout.split('\n')).toHaveLength(2);
});

test('standard output that is full is an I/O error', async () => {
  const run = await shell('"$0" "$1" info "$2" > /dev/full');
  expect(run.status).toBe(74);
  expect(run.stderr).toMatch(/^cvmtrace info: ENOSPC.*\nhint: .*\n$/);
});

test('an interrupt stops a query and exits with 130', async () => {
  // The first output says that the query runs; exec makes the process the one that gets the signal.
  const run = await shell(`exec "$0" "$1" sql "$2" 'from range(100000000000)' --format csv`, (kill) => kill('SIGINT'));
  expect(run).toMatchObject({ status: 130, signal: null });
  expect(run.stderr).toMatch(/^cvmtrace sql: .*interrupted.*\nhint: .*\n$/);
});

test('a query is read from standard input, and binary output goes through a pipe', async () => {
  const run = await shell(
    `echo 'select count(*) as n from events' | "$0" "$1" sql "$2" - --format parquet | head -c 4`,
  );
  expect(run).toMatchObject({ status: 0, stdout: 'PAR1', stderr: '' });
});
