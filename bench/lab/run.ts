import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Readable, Writable } from 'node:stream';
import { CvmtraceError, PACKAGE_ROOT } from '../../native/index.ts';
import { type Command, encodeCommand, type Message, MessageReader } from './control.ts';
import { DEVICES, FIRST_PORT_FD, type Machine, type Port, PORTS, qemuArguments, type Share } from './machine.ts';
import { assertInstalled, findProgram, missingPackages, QEMU, RUN_NEEDS } from './tools.ts';

export interface LabRun {
  readonly machine: Machine;
  readonly image: string;
  /** Folders that are writable inside; the first is where the command runs. */
  readonly folders: readonly [string, ...string[]];
  readonly argv: readonly string[];
  /** The script of this cvmtrace, which `cvmtrace` runs inside. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Run the command on a terminal of its own, as wide as this; stderr is then part of stdout. */
  readonly terminal?: { readonly rows: number; readonly columns: number };
  /** Limits for a machine that makes no progress, ms. */
  readonly bootLimitMs?: number;
  readonly silenceLimitMs?: number;
}

/** A lab that runs. */
export interface Lab {
  /** The command's exit status as a shell gives it: 128 + n if signal n ended it. @throws CvmtraceError as of `runInLab` */
  readonly status: Promise<number>;
  /** Sends a signal to the command and all that it started. */
  kill(signal: NodeJS.Signals): void;
  resize(rows: number, columns: number): void;
  /** Ends the machine at once. */
  stop(): void;
}

/** An emulated boot takes 2 to 4 s on an idle machine. */
const BOOT_LIMIT_MS = 180_000;
/** Process 1 says every second that it is there. */
const SILENCE_LIMIT_MS = 120_000;
const CONSOLE_LINES = 12;
/** What QEMU says of every such machine. */
const NOISE = /TCG doesn't support requested feature|has no peer/;

/**
 * Boots the machine, runs one command in it as root, and ends it. QEMU's own end takes all with it: nothing is left on disk, and a kernel signal ends QEMU if this process dies.
 * @throws CvmtraceError UNAVAILABLE without QEMU or where the guest cannot be set up; CRASHED if the guest panics, hangs or ends early, with the last
 * lines of its console
 */
export function runInLab(run: LabRun): Lab {
  assertInstalled(missingPackages(RUN_NEEDS, run.env), 'the lab');
  const init = join(PACKAGE_ROOT, 'native/build/lab-init');
  assertPlain(init);
  const shares = run.folders.map((path, i): Share => ({ tag: `share${i}`, path }));
  const qemu = startQemu(run, qemuArguments(run.machine, run.image, init, shares));
  const port = (name: Port): Duplex => qemu.stdio[FIRST_PORT_FD + PORTS.indexOf(name)] as Duplex;
  const control = port('control');
  // A port that QEMU closes as it ends is no error of ours: its exit says what there is to say.
  for (const name of PORTS) port(name).on('error', () => undefined);

  const command: Command = {
    bind: DEVICES[run.machine.device],
    terminal: run.terminal !== undefined,
    script: `#!/bin/sh\nexec ${quoted(process.execPath)} ${quoted(run.program)} "$@"\n`,
    shares,
    folder: run.folders[0],
    argv: run.argv,
    // So that a program can tell where it is.
    env: { ...run.env, CVMTRACE_LAB: run.machine.iommu },
  };
  control.write(encodeCommand(command));
  const send = (line: string): void => {
    if (control.writable) control.write(`${line}\n`);
  };
  if (run.terminal) send(`window ${run.terminal.rows} ${run.terminal.columns}`);
  run.stdin.pipe(port('stdin'));

  return {
    status: outcome(run, qemu, port).finally(() => {
      qemu.kill('SIGKILL');
      run.stdin.unpipe();
      run.stdin.destroy();
    }),
    kill: (signal) => send(`signal ${constants.signals[signal]}`),
    resize: (rows, columns) => send(`window ${rows} ${columns}`),
    stop: () => void qemu.kill('SIGKILL'),
  };
}

function startQemu(run: LabRun, args: readonly string[]): ChildProcess {
  // A process that is killed cannot take QEMU along; the kernel can.
  const setpriv = findProgram('setpriv', run.env);
  const emulator = findProgram(QEMU, run.env) ?? QEMU;
  const [program, ...before] = setpriv === undefined ? [emulator] : [setpriv, '--pdeathsig', 'KILL', '--', emulator];
  return spawn(program, [...before, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', ...PORTS.map(() => 'pipe' as const)],
    // A Ctrl-C of the terminal is for the command inside, which gets it from us.
    detached: true,
  });
}

/** Waits for the command's end, or the machine's. */
async function outcome(run: LabRun, qemu: ChildProcess, port: (name: Port) => Duplex): Promise<number> {
  const consoleText = new Tail();
  qemu.stdout?.on('data', (chunk: Buffer) => consoleText.push(chunk));
  const complaints = new Tail();
  qemu.stderr?.on('data', (chunk: Buffer) => complaints.push(chunk));

  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<number>((resolve, reject) => {
      const stdout = new Passage(port('stdout'), run.stdout, reject);
      const stderr = new Passage(port('stderr'), run.stderr, reject);
      const crash = (what: string): void => reject(crashed(what, consoleText, complaints));
      timer = setTimeout(crash, run.bootLimitMs ?? BOOT_LIMIT_MS, 'did not boot in time');
      const act = (message: Message): void => {
        clearTimeout(timer);
        if (message.kind === 'failed') reject(notSetUp(message.reason));
        if (message.kind !== 'exit') {
          timer = setTimeout(crash, run.silenceLimitMs ?? SILENCE_LIMIT_MS, 'hangs');
          return;
        }
        void Promise.all([stdout.arrived(message.stdoutBytes), stderr.arrived(message.stderrBytes)]).then(() =>
          resolve(message.status),
        );
      };
      const messages = new MessageReader();
      port('control').on('data', (chunk: Buffer) => messages.push(chunk).forEach(act));
      qemu.once('error', reject);
      qemu.once('close', (status, signal) =>
        crash(`ended before its command did (QEMU: ${signal ?? `status ${status}`})`),
      );
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes from the guest to one of our streams, and how many have passed. */
class Passage {
  #bytes = 0;
  #wanted: number | undefined;
  #done: (() => void) | undefined;

  /** @param failed called if our stream cannot be written to: nobody would take what the command prints, and it would wait for ever. */
  constructor(from: Duplex, to: Writable, failed: (error: unknown) => void) {
    this.#pass(from, to).catch(failed);
  }

  /** One chunk after the other, so that a slow reader slows the guest down. */
  async #pass(from: Duplex, to: Writable): Promise<void> {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      await write(to, chunk);
      this.#bytes += chunk.length;
      if (this.#bytes === this.#wanted) this.#done?.();
    }
  }

  /** Resolves when that many bytes have been written. */
  arrived(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = bytes;
      this.#done = resolve;
      if (this.#bytes === bytes) resolve();
    });
  }
}

/** Resolves when the chunk was taken. A reader that has gone takes nothing more; the command goes on, as it would under ssh. */
function write(to: Writable, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    to.write(chunk, (error) => {
      if (error && !isClosedPipe(error)) reject(error);
      else resolve();
    });
  });
}

/** The last lines of a text that may be long. */
class Tail {
  #text = '';

  push(chunk: Buffer): void {
    this.#text = (this.#text + chunk.toString('latin1')).slice(-16_384);
  }

  lines(count: number): string[] {
    return this.#text
      .split(/[\r\n]+/)
      .map((line) => line.trimEnd())
      .filter((line) => line !== '' && !NOISE.test(line))
      .slice(-count);
  }
}

function crashed(what: string, consoleText: Tail, complaints: Tail): CvmtraceError {
  const lines = [...complaints.lines(4), ...consoleText.lines(CONSOLE_LINES)];
  const panicked = lines.some((line) => line.includes('Kernel panic'));
  return new CvmtraceError('CRASHED', `the lab's machine ${panicked ? 'panicked' : what}`, {
    hint:
      lines.length === 0
        ? 'its console is empty: is this a kernel for x86-64 with the config of bench/lab/kernel.config?'
        : 'the last lines of its console are above',
    output: lines,
  });
}

function notSetUp(reason: string): CvmtraceError {
  return new CvmtraceError('UNAVAILABLE', `the lab could not be set up: ${reason}`, {
    hint: 'the kernel may lack what bench/lab/kernel.config asks for: cvmtrace lab list says what is missing',
  });
}

/** A word of the shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The kernel's command line has no way to quote a blank. */
function assertPlain(path: string): void {
  if (!/[\s"]/.test(path)) return;
  throw new CvmtraceError('USAGE', `the lab cannot start from a path with blanks or quotes: ${path}`, {
    hint: 'move cvmtrace to another folder',
  });
}

function isClosedPipe(error: Error): boolean {
  return 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED');
}
