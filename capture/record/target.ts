/** The command that is recorded, as a process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import type { Environment } from './control-folder.ts';

export interface TargetOptions {
  /** File to execute. */
  readonly path: string;
  /** The command as it was given; its first word becomes argv[0]. */
  readonly argv: readonly [string, ...string[]];
  readonly env: Environment;
  /** Read stdout instead of passing it on. */
  readonly readStdout: boolean;
  /** Further descriptors to pass on, under their own numbers. */
  readonly descriptors: readonly number[];
}

/** A started target. Standard streams are cvmtrace's own, and so is the process group: a terminal's signals reach both. */
export interface Target {
  readonly pid: number;
  /** As a shell has it: 128 + n if signal n ended it. */
  readonly ended: Promise<number>;
  readonly stdout: Readable | null;
  kill(signal: NodeJS.Signals): void;
}

/** @throws the system's error, with `code`, if it cannot be executed */
export async function startTarget({ path, argv, env, readStdout, descriptors }: TargetOptions): Promise<Target> {
  const [argv0, ...args] = argv;
  // Above the standard ones, "ignore" leaves a number closed.
  const others = Array.from({ length: Math.max(2, ...descriptors) - 2 }, (_, i): number | 'ignore' =>
    descriptors.includes(i + 3) ? i + 3 : 'ignore',
  );
  const child = spawn(path, args, {
    argv0,
    env,
    stdio: ['inherit', readStdout ? 'pipe' : 'inherit', 'inherit', ...others],
  });
  const ended = endOf(child);
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  return { pid: child.pid ?? 0, ended, stdout: child.stdout, kill: (signal) => void child.kill(signal) };
}

function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    // A signal that could not be sent is no end.
    child.on('error', () => undefined);
  });
}

/** Whether a terminal's interrupt reaches the process group of this process: then the target has had it, too. */
export function isForegroundOfTerminal(): boolean {
  // Fields 5 and 8 of proc(5): the process group, and that of the terminal. The name before them may hold anything.
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return fields[2] === fields[5];
}
