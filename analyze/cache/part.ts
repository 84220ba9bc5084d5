import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeFolder, removeFolder } from '../../capture/cache-folder.ts';
import { readChecked, writeChecked } from './checked-file.ts';

/** A folder with a DuckDB file and what is to be known about it. It appears whole, and does not count if its file was changed later. */
export interface Part {
  readonly file: string;
  readonly about: unknown;
}

/** Folders in which parts are being made begin with this. */
export const MAKING = '.making-';

const ABOUT = 'about';
const TABLES = 'tables.duckdb';

export function readPart(folder: string): Part | undefined {
  const file = join(folder, TABLES);
  const stored = readChecked(join(folder, ABOUT)) as { readonly about: unknown; readonly mark: string } | undefined;
  return stored !== undefined && stored.mark === markOf(file) ? { file, about: stored.about } : undefined;
}

/**
 * Makes a part from what `write` puts into a DuckDB file and returns about it. What fails leaves nothing; of two processes that make the same at the
 * same time, the part of one stays.
 * @param scratch existing folder on the same file system, for what is not whole yet
 */
export async function makePart(
  scratch: string,
  folder: string,
  write: (file: string) => Promise<unknown>,
): Promise<void> {
  const making = join(scratch, MAKING + randomUUID());
  const remove = (): void => removeFolder(making);
  mkdirSync(making, { mode: 0o700 });
  // A second interrupt ends the process at once.
  process.once('exit', remove);
  try {
    const file = join(making, TABLES);
    const about = await write(file);
    writeChecked(join(making, ABOUT), { about, mark: markOf(file) });
    if (!readPart(folder)) removeFolder(folder);
    makeFolder(dirname(folder));
    renameUnlessThere(making, folder);
  } finally {
    process.off('exit', remove);
    remove();
  }
}

function renameUnlessThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw cause;
  }
}

/** Length and time of a file; undefined if it is not there. */
function markOf(file: string): string | undefined {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.size} ${stat.mtimeNs}`;
}
