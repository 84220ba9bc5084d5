import { mkdtempSync, readlinkSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { namePreload, recordedEnvironment } from './preload.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a library is preloaded before those that were, and once', () => {
  expect(recordedEnvironment({ A: '1' }, '/l.so', '/proc/1/fd/2')).toEqual({
    A: '1',
    LD_PRELOAD: '/l.so',
    CVMTRACE_RECORD: '/proc/1/fd/2',
  });
  expect(recordedEnvironment({ LD_PRELOAD: 'x.so:/l.so  y.so' }, '/l.so', 'p')['LD_PRELOAD']).toBe('/l.so:x.so:y.so');
});

test('a path that LD_PRELOAD cannot hold is given as a link, while it is needed', () => {
  const library = join(folder, 'with blank.so');
  writeFileSync(library, '');
  const name = namePreload(folder, library);
  expect(name.path).not.toMatch(/[\s:$]/);
  expect(readlinkSync(name.path)).toBe(library);
  name.remove();
  expect(existsSync(name.path)).toBe(false);
  expect(() => namePreload(undefined, library)).toThrow('LD_PRELOAD cannot name');
});

test('a library that is not built is said to be', () => {
  expect(() => namePreload(folder, join(folder, 'none.so'))).toThrow('the recording library is not built');
});
