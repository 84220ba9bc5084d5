import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { CvmtraceError } from '../../native/index.ts';

export interface StepOptions {
  /** Output is added to this file. */
  readonly log: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly onLine?: (line: string) => void;
}

const LAST_LINES = 5;
const NO_SPACE = 'No space left on device';

/**
 * Runs one program of a build in a process group of its own, so that an interrupt ends all that it started.
 * @throws CvmtraceError IO if the disk is full or the log cannot be written, UNAVAILABLE with the log's last lines if the program fails,
 * and INTERRUPTED if the signal is aborted
 */
export async function runStep(what: string, argv: readonly [string, ...string[]], options: StepOptions): Promise<void> {
  const { signal } = options;
  throwIfInterrupted(what, signal);
  const [program, ...args] = argv;
  // A make around us must not hand its job server on.
  const env = { ...options.env, MAKEFLAGS: '', KBUILD_BUILD_USER: 'cvmtrace', KBUILD_BUILD_HOST: 'lab', LC_ALL: 'C' };
  const child = spawn(program, args, { cwd: options.cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, constants.signals.SIGTERM);
    } catch {
      // All of it has ended already.
    }
  };
  signal.addEventListener('abort', kill, { once: true });
  const log = createWriteStream(options.log, { flags: 'a' });
  let logError: Error | undefined;
  log.on('error', (error) => {
    logError = error;
    kill();
  });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  if (options.onLine) createInterface({ input: child.stdout }).on('line', options.onLine);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    await new Promise<void>((resolve) => log.end(resolve));
    throwIfInterrupted(what, signal);
    if (logError) throw noSpace(what, logError);
    if (status !== 0) throw await failed(what, options.log, status);
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}

/** Whether a line of make's output says what it works on: "  CC      mm/memory.o". */
export function isWork(line: string): boolean {
  return /^ {2}[A-Z]/.test(line);
}

function throwIfInterrupted(what: string, signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new CvmtraceError('INTERRUPTED', `interrupted while ${what}`, {
    hint: 'the same command goes on where it stopped',
    cause: signal.reason,
  });
}

async function failed(what: string, log: string, status: number | null): Promise<CvmtraceError> {
  const lines = (await readFile(log, 'utf8')).trimEnd().split('\n');
  const errors = lines.slice(-200);
  if (errors.some((line) => line.includes(NO_SPACE))) return noSpace(what);
  const telling = errors.filter((line) => /error|\*\*\*|fatal/i.test(line) && !isWork(line)).slice(0, LAST_LINES);
  return new CvmtraceError(
    'UNAVAILABLE',
    `${what} failed with status ${status ?? 'none'}: ${(telling.length > 0 ? telling : lines.slice(-LAST_LINES)).join(' | ')}`,
    { hint: `all that it printed is in ${log}; the same command goes on where it stopped` },
  );
}

function noSpace(what: string, cause?: Error): CvmtraceError {
  return new CvmtraceError('IO', `${what}: ${cause?.message ?? NO_SPACE}`, {
    hint: 'free some room, or set XDG_CACHE_HOME to a disk that has it; the same command goes on where it stopped',
    cause,
  });
}
