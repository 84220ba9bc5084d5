import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** What reading a file gave: its bytes, or the name of the errno, e.g. "ENOENT" or "EACCES". */
export type FileOutcome =
  { readonly bytes: Buffer; readonly errno?: undefined } | { readonly bytes?: undefined; readonly errno: string };

/** The files by which a host describes itself (/proc, /sys, /boot), below a root, so that tests can read another host's. */
export class HostFiles {
  readonly #root: string;

  /** @param root folder to take for "/". */
  constructor(root = '/') {
    this.#root = root;
  }

  read(path: string): FileOutcome {
    return attempt(() => readFileSync(join(this.#root, path)));
  }

  /** The text without white space around it; undefined if it cannot be read. */
  text(path: string): string | undefined {
    return this.read(path).bytes?.toString('utf8').trim();
  }

  /** A file that is one decimal number. */
  number(path: string): number | undefined {
    const text = this.text(path);
    return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
  }

  /** Names in a folder, sorted; none if it cannot be read. */
  list(path: string): readonly string[] {
    try {
      return readdirSync(join(this.#root, path)).sort();
    } catch {
      return [];
    }
  }

  /** Permission bits and group of a file; undefined if there is none. */
  access(path: string): { readonly mode: number; readonly gid: number } | undefined {
    const stat = statSync(join(this.#root, path), { throwIfNoEntry: false });
    return stat && { mode: stat.mode & 0o777, gid: stat.gid };
  }

  /** `length` bytes from `position`, for device files that give another record at each position. */
  readAt(path: string, position: number, length: number): FileOutcome {
    return attempt(() => {
      const fd = openSync(join(this.#root, path), 'r');
      try {
        const bytes = Buffer.alloc(length);
        return bytes.subarray(0, readSync(fd, bytes, 0, length, position));
      } finally {
        closeSync(fd);
      }
    });
  }
}

function attempt(read: () => Buffer): FileOutcome {
  try {
    return { bytes: read() };
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') return { errno: error.code };
    throw error;
  }
}
