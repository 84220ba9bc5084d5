import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { CvmtraceError } from '../../native/index.ts';
import { errnoOf, messageOf } from './file-error.ts';

/** read(2) transfers at most 2 GiB - 4 KiB at once. */
const MAX_READ_BYTES = 1 << 30;

/** A regular file, open for reading at any place. The owner closes it. */
export class FileSource {
  readonly path: string;
  /** Size when it was opened, bytes. */
  readonly sizeBytes: number;
  #fd: number | undefined;

  /** @throws CvmtraceError NO_INPUT if it is not there, IO if it must not be read, BAD_INPUT if it is no regular file. */
  static open(path: string): FileSource {
    let fd: number;
    try {
      // Without O_NONBLOCK the open of a FIFO would wait for a writer.
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (cause) {
      throw openError(path, cause);
    }
    const stat = fstatSync(fd);
    if (!stat.isFile()) {
      closeSync(fd);
      throw new CvmtraceError(
        'BAD_INPUT',
        `${path} is ${stat.isDirectory() ? 'a folder' : 'not a regular file'}, not a trace`,
        {
          path,
          hint: stat.isDirectory() ? 'name a file in it' : 'write it to a file first: a trace is read at many places',
        },
      );
    }
    return new FileSource(path, fd, stat.size);
  }

  private constructor(path: string, fd: number, sizeBytes: number) {
    this.path = path;
    this.#fd = fd;
    this.sizeBytes = sizeBytes;
  }

  /**
   * Fills `target` with the bytes from `offset` on.
   * @throws CvmtraceError IO if reading fails, BAD_INPUT if the file has become shorter.
   */
  readInto(target: Uint8Array, offset: number): void {
    if (this.#fd === undefined) throw new Error(`${this.path} is closed`);
    for (let done = 0; done < target.length;) {
      let count: number;
      try {
        count = readSync(this.#fd, target, done, Math.min(target.length - done, MAX_READ_BYTES), offset + done);
      } catch (cause) {
        throw new CvmtraceError('IO', `reading ${this.path} failed: ${messageOf(cause)}`, { path: this.path, cause });
      }
      if (count === 0)
        throw new CvmtraceError('BAD_INPUT', `${this.path} became shorter while it was read`, { path: this.path });
      done += count;
    }
  }

  /** A copy of `length` bytes at `offset`; the caller has checked both against `sizeBytes`. */
  read(offset: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    this.readInto(bytes, offset);
    return bytes;
  }

  /** Idempotent. */
  close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    closeSync(fd);
  }
}

function openError(path: string, cause: unknown): CvmtraceError {
  const errno = errnoOf(cause) ?? '';
  if (errno === 'ENOENT' || errno === 'ENOTDIR')
    return new CvmtraceError('NO_INPUT', `${path} does not exist`, { path, hint: 'check the name', cause });
  if (errno === 'EACCES' || errno === 'EPERM')
    return new CvmtraceError('IO', `no permission to read ${path}`, {
      path,
      hint: 'ask its owner for read permission',
      cause,
    });
  return new CvmtraceError('IO', `${path} cannot be opened: ${messageOf(cause)}`, { path, cause });
}
