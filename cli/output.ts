import type { Io, OutputStream } from './io.ts';
import { schemaName, toJson } from './json.ts';
import { oneLine } from './printable.ts';

/** Thrown by a write to stdout after its reader went away, as `| head` does. It ends the verb quietly, with status 0. */
export class ClosedPipe extends Error {
  override readonly name = 'ClosedPipe';
}

export interface OutputOptions {
  /** "info", "bench run". */
  readonly verb: string;
  readonly json: boolean;
  readonly quiet: boolean;
}

/** Where a verb prints: results to stdout, everything else to stderr. */
export class Output {
  readonly #stdout: OutputStream;
  readonly #stderr: OutputStream;
  readonly #options: OutputOptions;
  readonly #warnings: string[] = [];

  constructor(io: Pick<Io, 'stdout' | 'stderr'>, options: OutputOptions) {
    this.#stdout = io.stdout;
    this.#stderr = io.stderr;
    this.#options = options;
  }

  /** What was warned of so far, for the `warnings` of a document that a verb writes piece by piece. */
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /**
   * Writes a part of the result to stdout and waits until the stream has taken it, so that a slow reader slows the verb down.
   * @throws ClosedPipe if nobody reads it any more.
   */
  write(chunk: string | Uint8Array): Promise<void> {
    return writeTo(this.#stdout, chunk);
  }

  /** Prints the verb's whole result: with --json as `{"schema": ..., ...fields, "warnings": [...]}`, else the text. */
  async result(fields: object, text: () => string): Promise<void> {
    if (this.#options.json) {
      const document = { schema: schemaName(this.#options.verb), ...fields, warnings: this.#warnings };
      await this.write(`${toJson(document, 2)}\n`);
      return;
    }
    const rendered = text();
    if (rendered !== '') await this.write(rendered.endsWith('\n') ? rendered : `${rendered}\n`);
  }

  /** Says on stderr, and in the JSON document, what qualifies the result. */
  warn(message: string): void {
    this.#warnings.push(message);
    this.note(`warning: ${message}`);
  }

  /** Says on stderr what is going on, such as which file was written. */
  note(message: string): void {
    if (!this.#options.quiet) this.#stderr.write(`cvmtrace ${this.#options.verb}: ${oneLine(message)}\n`);
  }
}

/**
 * Writes to a stream and resolves when it has taken the chunk.
 * @throws ClosedPipe on EPIPE; the stream's own error, such as ENOSPC, otherwise.
 */
export function writeTo(stream: OutputStream, chunk: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(chunk, (error) => {
      if (!error) resolve();
      else reject(isClosedPipe(error) ? new ClosedPipe('closed pipe', { cause: error }) : error);
    });
  });
}

// A write after the one that met EPIPE finds the stream destroyed.
const CLOSED_PIPE_CODES: readonly unknown[] = ['EPIPE', 'ERR_STREAM_DESTROYED'];

function isClosedPipe(error: Error): boolean {
  return 'code' in error && CLOSED_PIPE_CODES.includes(error.code);
}
