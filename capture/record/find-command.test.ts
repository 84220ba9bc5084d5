import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findCommand } from './find-command.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
const at = (...names: string[]): string => join(folder, ...names);

beforeAll(() => {
  for (const bin of ['a', 'b']) mkdirSync(at(bin));
  writeFileSync(at('a', 'plain'), '');
  writeFileSync(at('b', 'plain'), '');
  chmodSync(at('b', 'plain'), 0o755);
  writeFileSync(at('a', 'only'), '');
  mkdirSync(at('a', 'folder'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('findCommand', () => {
  test('takes the first file in PATH that can be executed', () => {
    expect(findCommand('plain', `${at('a')}:${at('b')}`)).toEqual({ path: at('b', 'plain') });
  });

  test('has the statuses of a shell for what is not there and what cannot be executed', () => {
    expect(findCommand('nothing', at('a'))).toEqual({ status: 127, reason: 'nothing is not a file in PATH' });
    expect(findCommand('only', at('a'))).toEqual({ status: 126, reason: `${at('a', 'only')} is not executable` });
    expect(findCommand(at('a', 'folder'))).toEqual({ status: 126, reason: `${at('a', 'folder')} is a folder` });
    expect(findCommand(at('c'))).toEqual({ status: 127, reason: `there is no file ${at('c')}` });
    expect(findCommand('')).toMatchObject({ status: 127 });
  });

  test('takes a name with a slash as a path, and searches the usual folders without PATH', () => {
    expect(findCommand('/bin/sh', '')).toEqual({ path: '/bin/sh' });
    expect(findCommand('sh')).toEqual({ path: '/bin/sh' });
  });
});
