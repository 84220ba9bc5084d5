import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { PACKAGE_ROOT } from '../../../native/index.ts';

const CLI = join(PACKAGE_ROOT, 'dist/cli/main.js');

/** What a command in the lab printed and returned. */
export interface LabResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LabOptions {
  /** Options of `lab run`, before `--`. */
  readonly options?: readonly string[];
  readonly cwd?: string;
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command as `cvmtrace lab run` does, from outside. */
export function lab(argv: readonly string[], { options = [], cwd, input, env }: LabOptions = {}): LabResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, 'lab', 'run', ...options, '--', ...argv], {
    cwd: cwd ?? PACKAGE_ROOT,
    env: { ...process.env, ...env },
    input: input ?? '',
    maxBuffer: 2 ** 28,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** A shell script in the lab. */
export function labShell(script: string, options: LabOptions = {}): LabResult {
  return lab(['sh', '-c', script], options);
}

/** The same without waiting, for what is done to it from outside. */
export function startLab(argv: readonly string[], options: readonly string[] = []): ReturnType<typeof spawn> {
  return spawn(process.execPath, [CLI, 'lab', 'run', ...options, '--', ...argv], {
    cwd: PACKAGE_ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** A folder of this file's tests. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-lab-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
