/** Where what can be made again is kept: a folder for each kind of it in the user's cache directory. */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { CvmtraceError } from '../native/index.ts';

/**
 * `$XDG_CACHE_HOME/cvmtrace/KIND`, or `~/.cache/cvmtrace/KIND`.
 * @throws CvmtraceError USAGE if XDG_CACHE_HOME is not absolute, as its specification demands
 */
export function userCacheFolder(env: Readonly<Record<string, string | undefined>>, kind: string): string {
  const base = env['XDG_CACHE_HOME'];
  if (base !== undefined && base !== '' && !isAbsolute(base)) {
    throw new CvmtraceError('USAGE', `XDG_CACHE_HOME is not an absolute path: ${base}`, {
      hint: 'unset it, or give it an absolute path',
    });
  }
  return join(base === undefined || base === '' ? join(env['HOME'] ?? homedir(), '.cache') : base, 'cvmtrace', kind);
}

/** Makes a folder, readable for all or with `mode`, and what is above it. Not by Node's recursive mkdir, which never comes back below /proc. */
export function makeFolder(folder: string, mode?: number): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder, { mode });
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/** Bytes on disk of a folder and all below it. */
export function bytesOnDisk(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    bytes += statSync(join(entry.parentPath, entry.name)).blocks * 512;
  }
  return bytes;
}

/** Names in a folder; none if it is not there. */
export function childrenOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
