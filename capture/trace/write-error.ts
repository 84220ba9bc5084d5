import { closeSync, fsyncSync, openSync, statSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { CvmtraceError } from '../../native/index.ts';
import { errnoOf, messageOf } from './file-error.ts';

/** @throws CvmtraceError IO if there is something at `path` that must not be replaced. */
export function refuseExisting(path: string, force: boolean): void {
  const stat = statIfThere(path);
  if (!stat) return;
  if (!stat.isFile())
    throw new CvmtraceError('IO', `${path} exists and is not a file`, { path, hint: 'choose another name' });
  if (!force)
    throw new CvmtraceError('IO', `${path} exists`, { path, hint: 'choose another name, or replace it with --force' });
}

function statIfThere(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    // A file where a folder should be: creating the trace will say so.
    if (errnoOf(cause) === 'ENOTDIR') return undefined;
    throw new CvmtraceError('IO', `${path} cannot be looked at: ${messageOf(cause)}`, { path, cause });
  }
}

/** Why `temporary`, the unfinished form of `path`, could not be created. */
export function creationError(path: string, temporary: string, cause: unknown): CvmtraceError {
  switch (errnoOf(cause) ?? '') {
    case 'EEXIST':
      return new CvmtraceError('IO', `${temporary} exists: a trace of that name is being written, or was cut off`, {
        path: temporary,
        hint: `if nothing writes it any more, recover it (cvmtrace recover ${temporary} -o OUT) or remove it`,
        cause,
      });
    case 'ENOENT':
    case 'ENOTDIR':
      return new CvmtraceError('IO', `${dirname(path)} is not a folder, so ${path} cannot be created`, {
        path,
        hint: `create it: mkdir -p ${dirname(path)}`,
        cause,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new CvmtraceError('IO', `no permission to create ${temporary}`, {
        path,
        hint: `choose a folder that you may write to`,
        cause,
      });
    default:
      return new CvmtraceError('IO', `${temporary} cannot be created: ${messageOf(cause)}`, { path, cause });
  }
}

/** Why writing to `temporary`, the unfinished form of `path`, failed. */
export function writeError(path: string, temporary: string, cause: unknown): CvmtraceError {
  const errno = errnoOf(cause);
  const full = errno === 'ENOSPC' || errno === 'EDQUOT' || errno === 'EFBIG';
  return new CvmtraceError(
    'IO',
    full ? `no space left to write ${path}` : `writing ${path} failed: ${messageOf(cause)}`,
    {
      path,
      hint:
        (full ? 'free some space or choose another place; ' : '') +
        `what was written is in ${temporary}: cvmtrace recover ${temporary} -o OUT`,
      cause,
    },
  );
}

/** Makes a rename in a folder durable. File systems that cannot sync a folder say EINVAL; there the rename is as durable as they make it. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
  } finally {
    closeSync(fd);
  }
}
