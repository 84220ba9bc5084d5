import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { link, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { CvmtraceError } from '../native/index.ts';
import type { VerbContext } from './verb.ts';
import { writeTo } from './output.ts';

/** Takes the pieces of a result one after the other; each write waits until the one before was taken. */
export interface Sink {
  write(chunk: string | Uint8Array): Promise<void>;
}

export interface OutputFileOptions {
  /** Replace a file that is there. */
  readonly force: boolean;
}

/**
 * Makes the file `path` from what `fill` puts into a new file at the path it is given, in the same folder. The final name appears only when
 * `fill` is done and its bytes are on disk; on a failure nothing is left.
 * @throws CvmtraceError IO if the file exists and `force` is not set, or if `path` cannot be a file.
 */
export async function makeOutputFile<T>(
  path: string,
  options: OutputFileOptions,
  fill: (temporaryPath: string) => Promise<T>,
): Promise<T> {
  const target = await claimTarget(path, options);
  const temporary = join(dirname(target), `.cvmtrace-${randomUUID()}.tmp`);
  try {
    const value = await fill(temporary);
    await sync(temporary);
    await publish(temporary, target, options);
    return value;
  } catch (cause) {
    throw cause instanceof Error && 'syscall' in cause ? cannotWrite(path, cause) : cause;
  } finally {
    // What failed before is what the user has to hear of.
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

/** As {@link makeOutputFile}, with pieces instead of a path. Bytes are buffered up to the stream's high-water mark. */
export async function writeOutputFile<T>(
  path: string,
  options: OutputFileOptions,
  fill: (sink: Sink) => Promise<T>,
): Promise<T> {
  return makeOutputFile(path, options, async (temporary) => {
    const stream = createWriteStream(temporary, { flags: 'wx' });
    // Errors reach the writer through its callback, or `finished`.
    stream.on('error', () => undefined);
    try {
      const value = await fill({ write: (chunk) => writeTo(stream, chunk) });
      stream.end();
      await finished(stream);
      return value;
    } finally {
      stream.destroy();
    }
  });
}

/** Writes to `-o PATH`, or for "-" and undefined to stdout. */
export async function writeResult<T>(
  context: Pick<VerbContext, 'output'>,
  path: string | undefined,
  options: OutputFileOptions,
  fill: (sink: Sink) => Promise<T>,
): Promise<T> {
  return path === undefined || path === '-' ? fill(context.output) : writeOutputFile(path, options, fill);
}

/** The file to make: where `path` leads if it is a link, so that the link stays one. */
async function claimTarget(path: string, options: OutputFileOptions): Promise<string> {
  const there = await stat(path).catch(() => undefined);
  if (there === undefined) {
    if (await lstat(path).catch(() => undefined)) {
      throw new CvmtraceError('IO', `${path} is a link to nothing`, {
        path,
        hint: 'remove it, or choose another name',
      });
    }
    const folder = dirname(path);
    const parent = await stat(folder).catch(() => undefined);
    if (parent?.isDirectory() !== true) {
      throw new CvmtraceError('IO', `cannot write ${path}: there is no folder ${folder}`, {
        path,
        hint: `make it first: mkdir -p ${folder}`,
      });
    }
    return path;
  }
  // Renaming over a device or a pipe would replace it.
  if (!there.isFile()) {
    const what = there.isDirectory() ? 'a folder' : 'not a regular file';
    throw new CvmtraceError('IO', `cannot write ${path}: it is ${what}`, {
      path,
      hint: 'name a file, or - for standard output',
    });
  }
  if (!options.force) throw alreadyExists(path);
  return realpath(path);
}

async function publish(temporary: string, target: string, options: OutputFileOptions): Promise<void> {
  if (options.force) {
    await rename(temporary, target);
    return;
  }
  // link(2) fails where the name was taken meanwhile; rename(2) would overwrite.
  try {
    await link(temporary, target);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') throw alreadyExists(target);
    // Some file systems have no hard links (FAT, some network and FUSE mounts).
    await rename(temporary, target);
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function alreadyExists(path: string): CvmtraceError {
  return new CvmtraceError('IO', `${path} exists`, { path, hint: 'choose another name, or overwrite it with --force' });
}

function cannotWrite(path: string, cause: Error): CvmtraceError {
  return new CvmtraceError('IO', `cannot write ${path}: ${cause.message}`, { path, cause });
}
