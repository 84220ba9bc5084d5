import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PACKAGE_ROOT } from './package-root.ts';

let bin: string;
beforeEach(() => {
  bin = mkdtempSync(join(tmpdir(), 'cvmtrace-build-'));
});
afterEach(() => {
  rmSync(bin, { recursive: true });
});

/** Runs the build with `bin` as the only folder with programs. */
function build(...args: string[]) {
  const script = join(PACKAGE_ROOT, 'native', 'build.mjs');
  return spawnSync(process.execPath, [script, ...args], { env: { PATH: bin }, encoding: 'utf8' });
}

function program(name: string, body: string): void {
  const file = join(bin, name);
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
}

describe('native/build.mjs', () => {
  test('without make and g++ says in one line what is lost and what to install', () => {
    const optional = build('--optional');
    expect(optional.status).toBe(0);
    expect(optional.stdout).toBe('');
    expect(optional.stderr).toBe(
      'cvmtrace: make and g++ not found: capture and replay will not work (import, SQL and analysis do). ' +
        'To get them: apt install make g++, then npm run build:native\n',
    );
    expect(build().status).toBe(1);
  });

  test('names the one that is missing', () => {
    symlinkSync('/bin/true', join(bin, 'make'));
    expect(build('--optional').stderr).toContain('cvmtrace: g++ not found');
  });

  test('shows the last lines of a compile that failed', () => {
    symlinkSync('/bin/true', join(bin, 'g++'));
    program('make', 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo "line $i" >&2; done; exit 2');
    const optional = build('--optional');
    expect(optional.status).toBe(0);
    expect(optional.stderr).not.toContain('line 5\n');
    expect(optional.stderr).toContain('line 20\n');
    expect(optional.stderr).toMatch(/\ncvmtrace: the native addon did not compile: .*npm run build:native\n$/);
    const required = build();
    expect(required.status).toBe(1);
    expect(required.stderr).toContain('line 1\n');
  });

  test('is quiet when it works', () => {
    symlinkSync('/bin/true', join(bin, 'g++'));
    symlinkSync('/bin/true', join(bin, 'make'));
    expect(build()).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });
});
