import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TraceFile } from './reader.ts';
import { recoverTrace } from './recover.ts';
import { DIST, expectRows, testFolder } from './testing/sample.ts';

const folder = testFolder();
const CHILD = join(import.meta.dirname, 'testdata', 'write-rows.mjs');

/** What the child says last: its error. */
function lastLine(output: string): unknown {
  return JSON.parse(output.trimEnd().split('\n').at(-1) ?? 'null');
}

test('a file that may not grow: an error, no trace, and all complete batches are still there', () => {
  const path = join(folder, 'limited.arrow');
  // RLIMIT_FSIZE makes write(2) fail with EFBIG after a short write, as a full disk does with ENOSPC. 512 KiB.
  const child = spawnSync('sh', ['-c', 'ulimit -f 1024; exec "$@"', 'sh', process.execPath, CHILD, DIST, path, '500'], {
    encoding: 'utf8',
  });
  expect(child.stderr).toBe('');
  expect(child.status).toBe(1);
  expect(lastLine(child.stdout)).toMatchObject({
    code: 'IO',
    message: `no space left to write ${path}`,
    hint: expect.stringContaining(`cvmtrace recover ${path}.partial`) as string,
  });
  expect(existsSync(path)).toBe(false);
  const flushed = Number(child.stdout.trimEnd().split('\n').at(-2));
  expect(flushed).toBeGreaterThan(1000);
  const recovered = recoverTrace(`${path}.partial`, path);
  expect(recovered).toMatchObject({ rows: flushed, complete: false });
  expect(recovered.bytesDropped).toBeGreaterThan(0);
  const file = TraceFile.open(path);
  expect(expectRows(file)).toBe(flushed);
  file.close();
});

test('a full file system', ({ skip }) => {
  const mountPoint = join(folder, 'full');
  mkdirSync(mountPoint);
  // A mount namespace of its own: nothing stays mounted when the child is gone.
  const script =
    'mount -t tmpfs -o size=1m none "$1" || exit 77; dir=$1; shift; "$@"; status=$?; ls "$dir"; exit $status';
  const command = [
    '-rm',
    'sh',
    '-c',
    script,
    'sh',
    mountPoint,
    process.execPath,
    CHILD,
    DIST,
    join(mountPoint, 'full.arrow'),
    '500',
  ];
  const child = spawnSync('unshare', command, { encoding: 'utf8' });
  if (child.error || child.stderr.includes('unshare') || child.status === 77)
    skip('no permission to mount in a namespace');
  const lines = child.stdout.trimEnd().split('\n');
  expect(JSON.parse(lines.at(-2) ?? 'null')).toMatchObject({
    code: 'IO',
    message: expect.stringContaining('no space left') as string,
  });
  expect(lines.at(-1)).toBe('full.arrow.partial');
  expect(child.status).toBe(1);
});
