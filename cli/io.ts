import type { Readable, Writable } from 'node:stream';

/** Signals that end a verb. The first asks it to stop, the second does not ask. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

/** A stream to write to, with what a terminal adds to it. */
export interface OutputStream extends Writable {
  readonly isTTY?: boolean;
  /** Width in characters. */
  readonly columns?: number;
}

/** All that the command line takes from its process, so that a test can give it something else. */
export interface Io {
  readonly stdin: Readable;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Calls `listener` for each stop signal until the returned function is called. */
  onStopSignal(listener: (signal: StopSignal) => void): () => void;
  /** Ends the process at once, without cleaning up. */
  exitNow(status: number): void;
}

/** The streams, environment and signals of this process. */
export function processIo(): Io {
  return {
    // Touching process.stdin opens it, and an open pipe keeps the process alive: only a verb that reads it should do so.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    onStopSignal(listener) {
      const wrapped = STOP_SIGNALS.map((signal) => [signal, () => listener(signal)] as const);
      for (const [signal, handler] of wrapped) process.on(signal, handler);
      return () => wrapped.forEach(([signal, handler]) => process.off(signal, handler));
    },
    exitNow: (status) => process.exit(status),
  };
}
