import { PassThrough, Readable, Writable } from 'node:stream';
import type { Io, StopSignal } from '../io.ts';
import { main } from '../program.ts';
import type { Verb } from '../verb.ts';

export interface CliRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as it was written, for binary formats. */
  readonly bytes: Buffer;
}

export interface CliOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Streams say that they are terminals of this width. */
  readonly terminalColumns?: number;
  readonly verbs?: readonly Verb[];
  /** Called when the run begins, with a way to send it a signal. */
  readonly onStart?: (send: (signal: StopSignal) => void) => void;
  /** Status that a second signal asked for. */
  readonly onExitNow?: (status: number) => void;
}

/** Runs one command line in this process and captures its streams. */
export async function runCli(argv: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  const stdout = new Capture(options.terminalColumns);
  const stderr = new Capture(options.terminalColumns);
  const listeners = new Set<(signal: StopSignal) => void>();
  const io: Io = {
    stdin: options.stdin === undefined ? new PassThrough() : Readable.from([Buffer.from(options.stdin)]),
    stdout,
    stderr,
    env: options.env ?? {},
    onStopSignal(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    exitNow: (status) => options.onExitNow?.(status),
  };
  options.onStart?.((signal) => listeners.forEach((listener) => listener(signal)));
  const running = options.verbs ? main(argv, io, options.verbs) : main(argv, io);
  const status = await running;
  return { status, stdout: stdout.text, stderr: stderr.text, bytes: stdout.bytes };
}

class Capture extends Writable {
  readonly #chunks: Buffer[] = [];
  readonly isTTY: boolean;
  readonly columns: number | undefined;

  constructor(terminalColumns: number | undefined) {
    super();
    this.isTTY = terminalColumns !== undefined;
    this.columns = terminalColumns;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.bytes.toString('utf8');
  }
}
