import { ReadStream, WriteStream } from 'node:tty';
import type { Io } from './io.ts';

interface Size {
  readonly rows: number;
  readonly columns: number;
}

/** The user's terminal while another program, further away, is on it: every key goes there as it is. */
export interface RawTerminal {
  size(): Size;
  onResize(listener: (size: Size) => void): void;
  /** Gives the terminal back. */
  stop(): void;
}

/** Takes the terminal, if there is one on both sides: a pipe on either is passed through as a pipe. */
export function startTerminal(io: Io): RawTerminal | undefined {
  const { stdin: input, stdout: output } = io;
  if (!(output instanceof WriteStream) || !(input instanceof ReadStream)) return undefined;
  const size = (): Size => ({ rows: output.rows, columns: output.columns });
  const listeners: (() => void)[] = [];
  input.setRawMode(true);
  return {
    size,
    onResize(listener) {
      const call = (): void => listener(size());
      listeners.push(call);
      output.on('resize', call);
    },
    stop() {
      for (const listener of listeners) output.off('resize', listener);
      input.setRawMode(false);
    },
  };
}
