import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { loadNative, PACKAGE_ROOT } from './index.ts';
import { MIB, openSession, wordsOf } from './testing/rows.ts';

const SCENARIOS = join(PACKAGE_ROOT, 'native', 'testing', 'scenarios.mjs');

/** What a scenario printed; it must have ended by itself with exit status 0. */
async function run(name: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', SCENARIOS, name], { timeout: 20_000 });
  return JSON.parse(stdout);
}

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return /kvm|memfd:cvmtrace/.test(target) ? [target] : [];
    } catch {
      return [];
    }
  });
}

describe('close', () => {
  test('closes what was opened, once, and can be called again', async () => {
    const session = loadNative().createSession();
    await session.execute(
      wordsOf([
        ['kvm_create_vm', { obj: 1, attrs: 0 }],
        ['ram_create', { obj: 2, len: MIB, flags: 1 }],
      ]),
    );
    expect(openFiles()).toHaveLength(session.openObjects);
    await Promise.all([session.close(), session.close()]);
    expect(openFiles()).toEqual([]);
    expect(session.openObjects).toBe(0);
    await session.close();
  });

  test('ends a running batch, which resolves', async () => {
    const session = loadNative().createSession();
    const running = session.execute(
      wordsOf([
        ['ram_create', { obj: 2, len: MIB, flags: 1 }],
        ['mark', { paceNs: 3600e9 }],
      ]),
      { pace: 'relative' },
    );
    const queued = session.execute(wordsOf([['mark', {}]]));
    await session.close();
    expect(await running).toMatchObject({ stopped: true });
    expect(await queued).toMatchObject({ stopped: true, rows: 0 });
    expect(openFiles()).toEqual([]);
  });

  test('of a session that was not used', async () => {
    const session = loadNative().createSession();
    await session.close();
    await session.close();
  });

  test('lets nothing be executed any more', async () => {
    const session = loadNative().createSession();
    await session.execute(wordsOf([['mark', {}]]));
    const closing = session.close();
    await expect(session.execute(wordsOf([['mark', {}]]))).rejects.toMatchObject({ code: 'ERR_SESSION_CLOSED' });
    await closing;
    await expect(session.execute(wordsOf([['mark', {}]]))).rejects.toMatchObject({ code: 'ERR_SESSION_CLOSED' });
    session.cancel();
    expect(() => session.residentBytes(1)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });

  test('leaves the rows readable', async () => {
    const session = loadNative().createSession();
    const batch = await session.execute(wordsOf([['mark', { len: 77 }]]));
    await session.close();
    expect(batch.columns.len[0]).toBe(77n);
  });
});

test('the functions of a session do not need it as this', async () => {
  const session = openSession();
  expect((await session.execute.call(undefined as never, wordsOf([['mark', {}]]))).rows).toBe(1);
});

describe('in a process of its own', () => {
  test('an idle session does not keep the process', async () => {
    expect(await run('idle')).toEqual({ rows: 1 });
  });

  test('a running batch does', async () => {
    expect(await run('waits')).toEqual({ rows: 2 });
  });

  test('process.exit ends a running batch', async () => {
    expect(await run('exits')).toEqual({ exiting: true });
  });

  test('sessions that nobody closed are collected', async () => {
    expect(await run('collected')).toEqual({ before: 40, after: 0 });
  });

  test('a running batch keeps its session', async () => {
    expect(await run('held')).toEqual({ rows: 2, len: MIB });
  });

  test('a worker closes what it opened when it ends, and when it is terminated in a batch', async () => {
    expect(await run('workers')).toEqual([1, expect.any(Number), 0, 1, 1, 0]);
  });

  test('sessions work side by side, also in workers', async () => {
    expect(await run('parallel')).toEqual({ tids: 8, during: 16, after: 0 });
  });
});

test('strace counts the calls that the rows claim', async ({ skip }) => {
  if (!existsSync('/usr/bin/strace')) skip('strace is not installed');
  const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-strace-'));
  try {
    const log = join(folder, 'counts');
    const strace = ['-f', '-c', '-o', log, '-e', 'trace=fallocate', process.execPath, SCENARIOS, 'counted'];
    const { stdout } = await promisify(execFile)('/usr/bin/strace', strace, { timeout: 20_000 });
    // 1000 allocations and 500 punches; every third length is 0, which the kernel refuses.
    expect(JSON.parse(stdout)).toEqual({ rows: 1501, failures: 501 });
    expect(readFileSync(log, 'utf8')).toMatch(/ 1500 +501 fallocate/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
