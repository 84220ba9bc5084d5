/**
 * analyze/cache/: what was made of large traces, kept in the user's cache folder so that it is made once: a folder per trace and version of the
 * program, named after the hash of both. Nothing in it is more than a copy: what is damaged, old or too much is deleted and made again.
 */
import { createHash } from 'node:crypto';
import { renameSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { childrenOf, makeFolder, removeFolder, userCacheFolder } from '../../capture/cache-folder.ts';
import { hashFile, isSettled, markOf, sameMark, type FileMark } from './content.ts';
import { CacheEntry, type Description } from './entry.ts';
import { makePart, MAKING } from './part.ts';
import { toolKey } from './tool-key.ts';

/** Room that all entries may take together; the one in use stays, whatever it takes. */
export const DEFAULT_LIMIT_BYTES = 20 * 1024 ** 3;

/** What a process that was killed was making is deleted after this. */
const ABANDONED_MS = 24 * 3600 * 1000;

const HASH_DIGITS = 32;

/** The trace was written while it was read. */
class TraceChanged extends Error {}

/** A path as it is now. */
interface Hashed {
  readonly mark: FileMark;
  readonly sha256: string;
}

export class TraceCache {
  readonly folder: string;
  readonly limitBytes: number;
  readonly #hashed = new Map<string, Hashed>();

  constructor(folder: string, limitBytes = DEFAULT_LIMIT_BYTES) {
    this.folder = folder;
    this.limitBytes = limitBytes;
  }

  /** `$XDG_CACHE_HOME/cvmtrace/analysis`, or `~/.cache/cvmtrace/analysis`. */
  static folderOf(env: Readonly<Record<string, string | undefined>>): string {
    return userCacheFolder(env, 'analysis');
  }

  /** All entries that are whole, also those of other versions of the program; last used first. */
  list(): CacheEntry[] {
    const entries = childrenOf(this.folder).flatMap((name) => CacheEntry.read(join(this.folder, name)) ?? []);
    return entries.sort((a, b) => b.usedMs - a.usedMs);
  }

  /**
   * The entry of the trace at a path as it is now, by the file's mark or by its content; undefined if there is none.
   * @throws what reading the file throws, or the signal's reason.
   */
  async find(
    path: string,
    signal: AbortSignal,
    onBytes?: (bytes: number, of: number) => void,
  ): Promise<CacheEntry | undefined> {
    const mark = markOf(path);
    if (!mark) return undefined;
    const sizeBytes = Number(mark.sizeBytes);
    const current = this.list().filter(({ isCurrent }) => isCurrent);
    const known = current.find((entry) => entry.isOf(mark));
    if (known) {
      known.use(path, mark);
      return known;
    }
    if (!current.some(({ description }) => description.sizeBytes === sizeBytes)) return undefined;
    const { sha256 } = await this.#hash(path, mark, signal, onBytes);
    const entry = CacheEntry.read(this.#folderOf(sha256));
    if (entry && isSettled(mark)) entry.use(path, mark);
    return entry;
  }

  /**
   * Makes the entry of the trace at a path, from what `write` puts into the DuckDB file that it is given. Undefined if the trace was changed
   * meanwhile: what was read is then neither the old content nor the new.
   * @throws what reading, writing and `write` throw; nothing is left then.
   */
  async make(
    path: string,
    signal: AbortSignal,
    write: (file: string) => Promise<Omit<Description, 'sha256' | 'sizeBytes' | 'toolKey'>>,
    onBytes?: (bytes: number, of: number) => void,
  ): Promise<CacheEntry | undefined> {
    const mark = markOf(path);
    if (!mark) return undefined;
    const settled = isSettled(mark);
    // Traces may be nobody else's business.
    makeFolder(this.folder, 0o700);
    this.#deleteAbandoned();
    const { sha256 } = await this.#hash(path, mark, signal, onBytes);
    const folder = this.#folderOf(sha256);
    try {
      await makePart(this.folder, join(folder, 'rows'), async (file) => {
        const about = await write(file);
        const after = markOf(path);
        if (!after || !sameMark(mark, after)) throw new TraceChanged();
        return { ...about, sha256, sizeBytes: Number(mark.sizeBytes), toolKey: toolKey() } satisfies Description;
      });
    } catch (cause) {
      if (cause instanceof TraceChanged) return undefined;
      throw cause;
    }
    const entry = CacheEntry.read(folder);
    // An unsettled mark is noted as one that no file will have: the list has the path.
    entry?.use(path, settled ? mark : { ...mark, ctimeNs: '0' });
    this.#evict(folder);
    return entry;
  }

  /** Adds the part `expensive` to an entry. */
  async addExpensive(entry: CacheEntry, write: (file: string) => Promise<void>): Promise<void> {
    await makePart(this.folder, entry.expensiveFolder, write);
    this.#evict(entry.folder);
  }

  /** Deletes an entry; processes that read it go on. */
  remove(entry: CacheEntry): void {
    this.#delete(entry.folder);
  }

  /** Deletes what was last used before `beforeMs` (ms since 1970), or all; also what is not whole. */
  clear(beforeMs = Infinity): void {
    for (const entry of this.list()) if (entry.usedMs < beforeMs) this.remove(entry);
    for (const name of childrenOf(this.folder)) {
      const folder = join(this.folder, name);
      if (!CacheEntry.read(folder) && modifiedMs(folder) < beforeMs) removeFolder(folder);
    }
  }

  #folderOf(sha256: string): string {
    const hash = createHash('sha256').update(`${sha256} ${toolKey()}`).digest('hex');
    return join(this.folder, hash.slice(0, HASH_DIGITS));
  }

  async #hash(
    path: string,
    mark: FileMark,
    signal: AbortSignal,
    onBytes?: (bytes: number, of: number) => void,
  ): Promise<Hashed> {
    const known = this.#hashed.get(path);
    if (known && sameMark(known.mark, mark)) return known;
    const sizeBytes = Number(mark.sizeBytes);
    // Another version of the program may have read it.
    const other = this.list().find((entry) => entry.isOf(mark));
    const sha256 = other?.description.sha256 ?? (await hashFile(path, signal, (bytes) => onBytes?.(bytes, sizeBytes)));
    const hashed = { mark, sha256 };
    this.#hashed.set(path, hashed);
    return hashed;
  }

  /** Deletes entries of other versions of the program's that the limit does not hold, then those that were not used for longest. */
  #evict(inUse: string): void {
    const entries = this.list().map((entry) => ({ entry, bytes: entry.bytes }));
    let bytes = entries.reduce((sum, { bytes: of }) => sum + of, 0);
    for (const { entry, bytes: of } of entries.reverse()) {
      if (bytes <= this.limitBytes) return;
      if (entry.folder === inUse) continue;
      this.#delete(entry.folder);
      bytes -= of;
    }
  }

  /** Its name goes first, so that there is never half an entry. */
  #delete(folder: string): void {
    const gone = join(this.folder, `${MAKING}${basename(folder)}-gone`);
    try {
      renameSync(folder, gone);
    } catch {
      // Another process was faster.
      return;
    }
    removeFolder(gone);
  }

  #deleteAbandoned(): void {
    const before = Date.now() - ABANDONED_MS;
    for (const name of childrenOf(this.folder)) {
      const folder = join(this.folder, name);
      if (name.startsWith(MAKING) && modifiedMs(folder) < before) removeFolder(folder);
    }
  }
}

/** Last change of a folder or of a file in it; ms since 1970. */
function modifiedMs(folder: string): number {
  const paths = [folder, ...childrenOf(folder).map((name) => join(folder, name))];
  return Math.max(...paths.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0));
}
