import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';

/** Longer lines are matched up to here. */
const MAX_LINE_CHARACTERS = 64 * 1024;

/** How long output may still come after the program's end, if something else has its stdout, too. */
const QUIET_MS = 200;

/** Characters of a mark's name at most. */
export const MAX_NAME_CHARACTERS = 1000;

/**
 * Finds phases in what a program prints. A line that matches begins one; its name is the group `name` of the expression, else its first group,
 * else the line.
 */
export class PhaseLines {
  readonly #pattern: RegExp;
  readonly #onPhase: (name: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #line = '';

  /** @param pattern without the flags g and y, which would make a match depend on the one before */
  constructor(pattern: RegExp, onPhase: (name: string) => void) {
    this.#pattern = pattern;
    this.#onPhase = onPhase;
  }

  /** The next bytes of the output. */
  push(bytes: Buffer): void {
    const [first = '', ...rest] = this.#decoder.write(bytes).split('\n');
    this.#extend(first);
    for (const text of rest) {
      this.#endLine();
      this.#extend(text);
    }
  }

  /** The output has ended; what follows the last line break is a line, too. */
  end(): void {
    this.#extend(this.#decoder.end());
    this.#endLine();
  }

  #extend(text: string): void {
    this.#line += text.slice(0, MAX_LINE_CHARACTERS - this.#line.length);
  }

  #endLine(): void {
    const line = this.#line.replace(/\r$/, '');
    this.#line = '';
    const match = this.#pattern.exec(line);
    if (match === null) return;
    const name = (match.groups?.['name'] ?? match[1] ?? line).trim();
    if (name !== '') this.#onPhase(name.slice(0, MAX_NAME_CHARACTERS));
  }
}

/** Output that is read for phases. */
export interface PhaseReader {
  /** Resolves when the output has ended, or nothing comes any more. */
  untilQuiet(): Promise<void>;
}

/** Hands a program's output on, byte by byte as it is, and finds the phases in it. */
export function readPhases(
  stdout: Readable,
  pattern: RegExp,
  write: (bytes: Buffer) => Promise<void>,
  onPhase: (name: string) => void,
): PhaseReader {
  const lines = new PhaseLines(pattern, onPhase);
  let pieces = 0;
  let over = false;
  const passOn = async (): Promise<void> => {
    for await (const bytes of stdout) {
      if (!Buffer.isBuffer(bytes)) continue;
      pieces++;
      lines.push(bytes);
      await write(bytes);
    }
    lines.end();
  };
  // Where nobody reads what is handed on, the program is to find out as if it wrote there itself.
  const ended = passOn()
    .catch(() => stdout.destroy())
    .then(() => (over = true));
  return {
    async untilQuiet() {
      for (let before = -1; !over && before !== pieces;) {
        before = pieces;
        await Promise.race([ended, sleep(QUIET_MS)]);
      }
      stdout.destroy();
    },
  };
}
