/** An interrupt while a large trace goes into the cache, in a real process: it runs `dist/`, which `npm test` builds. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generateTrace } from '../../datasets/generate.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-interrupt-'));
const trace = join(folder, 'large.arrow');
const scratch = join(folder, 'scratch');
const cache = join(folder, 'home/cvmtrace/analysis');
beforeAll(async () => {
  mkdirSync(scratch);
  await generateTrace(trace, { rows: 1_000_001, seed: 1 });
});
afterAll(() => rmSync(folder, { recursive: true }));

function analyze(): ChildProcess {
  return spawn(process.execPath, [join(PACKAGE_ROOT, 'dist/cli/main.js'), 'analyze', trace], {
    env: { ...process.env, XDG_CACHE_HOME: join(folder, 'home'), TMPDIR: scratch },
    stdio: 'ignore',
  });
}

function namesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

async function interruptWhen(isThere: () => boolean): Promise<number | null> {
  const child = analyze();
  const ended = once(child, 'exit') as Promise<[number | null]>;
  while (child.exitCode === null && !isThere()) await sleep(5);
  child.kill('SIGINT');
  return (await ended)[0];
}

test('while rows are loaded: nothing is left', async () => {
  const isLoading = (): boolean => namesIn(cache).some((name) => namesIn(join(cache, name)).includes('tables.duckdb'));
  expect(await interruptWhen(isLoading)).toBe(130);
  expect({ cache: namesIn(cache), scratch: namesIn(scratch) }).toEqual({ cache: [], scratch: [] });
});

test('after that: the rows are whole, and nothing else is left', async () => {
  const hasRows = (): boolean => namesIn(cache).some((name) => namesIn(join(cache, name)).includes('rows'));
  expect(await interruptWhen(hasRows)).toBe(130);
  const [entry = '', ...others] = namesIn(cache);
  expect({ others, parts: namesIn(join(cache, entry)).filter((name) => name !== 'places') }).toEqual({
    others: [],
    parts: ['rows'],
  });
  expect(namesIn(scratch)).toEqual([]);
});
