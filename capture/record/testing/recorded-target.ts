import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { PACKAGE_ROOT } from '../../../native/index.ts';

const SOURCE = join(PACKAGE_ROOT, 'capture', 'record', 'testdata', 'target.c');

export interface TargetFolder {
  /** Empty but for the program `target`. */
  readonly path: string;
  /** The program of testdata/target.c, whose arguments are the steps that it does. */
  readonly target: string;
}

/** A folder for the tests of a file, with the program to record. */
export function targetFolder(): TargetFolder {
  const path = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  const target = join(path, 'target');
  beforeAll(() => void execFileSync('cc', ['-O1', '-Wall', '-Werror', '-pthread', '-o', target, SOURCE]));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return { path, target };
}
