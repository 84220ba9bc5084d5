import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { runCli, type CliRun } from '../testing/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-cache-'));
afterAll(() => rmSync(folder, { recursive: true }));
const trace = join(folder, 'trace.parquet');
copyFileSync(join(PACKAGE_ROOT, 'datasets/record-private-mem-conversions.parquet'), trace);
const home = join(folder, 'home');

function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CliRun> {
  return runCli(argv, { env: { XDG_CACHE_HOME: home, ...env } });
}

async function list(): Promise<{ readonly traces: readonly { readonly has: readonly string[] }[] }> {
  return JSON.parse((await run(['cache', 'list', '--json'])).stdout) as Awaited<ReturnType<typeof list>>;
}

describe('a trace that is kept', () => {
  it('is reported on, asked, listed and deleted', async () => {
    const plain = await run(['analyze', '--no-cache', trace]);
    expect(await list()).toMatchObject({ schema: 'cvmtrace.cache-list/1', bytes: 0, traces: [] });
    for (let again = 0; again < 2; again++) {
      expect(await run(['analyze', '--cache', trace])).toEqual(plain);
      expect(await list()).toMatchObject({ traces: [{ path: trace, current: true, has: ['tables', 'report'] }] });
    }
    const query = 'select outcome, count(*) from conversions group by all order by all';
    const answer = await run(['sql', '--no-cache', trace, query]);
    expect(answer.stdout).toContain('ok');
    expect(await run(['sql', '--cache', trace, query])).toEqual(answer);
    const { stdout } = await run(['cache', 'list']);
    expect(stdout).toContain(trace);
    expect(stdout).toMatch(/rows, tables, report\n\n.* of at most 20G in .*\/analysis\n$/);
    expect((await run(['cache', 'clear', '--older-than', '1h'])).stdout).toBe('0 traces deleted, 0\n');
    expect((await run(['cache', 'clear'])).stdout).toMatch(/^1 trace deleted, .*MiB\n$/);
    expect((await run(['cache', 'list'])).stdout).toBe(`no trace is in the cache, ${home}/cvmtrace/analysis\n`);
  });

  it('is none that is short, unless that is asked for', async () => {
    expect(await run(['analyze', trace])).toMatchObject({ status: 0, stderr: '' });
    expect((await list()).traces).toEqual([]);
  });

  it('is told why it is not kept', async () => {
    writeFileSync(join(folder, 'file'), '');
    const { status, stderr } = await run(['sql', '--cache', trace, 'select 1'], {
      XDG_CACHE_HOME: join(folder, 'file'),
    });
    expect(status).toBe(0);
    expect(stderr).toMatch(/^cvmtrace sql: warning: .*trace.parquet is not kept in the cache: ENOTDIR.*\n/);
  });

  it.each([
    [{ CVMTRACE_CACHE_LIMIT: 'much' }, ['cache', 'list'], 'CVMTRACE_CACHE_LIMIT is not a size: much'],
    [{ XDG_CACHE_HOME: 'here' }, ['cache', 'list'], 'XDG_CACHE_HOME is not an absolute path: here'],
    [{}, ['cache', 'clear', '--older-than', '3'], '--older-than: "3" is not an age'],
  ])('wrong words are usage errors: %j %j', async (env, argv, message) => {
    const { status, stderr } = await run(argv, env);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});
