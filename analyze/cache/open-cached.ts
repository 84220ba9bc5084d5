import { statSync } from 'node:fs';
import { CvmtraceError } from '../../native/index.ts';
import { TraceFile } from '../../capture/trace/reader.ts';
import { sniffTraceKind } from '../../capture/trace/sniff.ts';
import type { Analysis } from '../db/analysis.ts';
import { writeRows, type KeptTrace } from '../db/kept-trace.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import type { AnalysisOptions } from '../db/settings.ts';
import type { Report } from '../report/report.ts';
import { markOf } from './content.ts';
import type { CacheEntry } from './entry.ts';
import type { TraceCache } from './trace-cache.ts';

export interface CacheUse {
  readonly cache: TraceCache;
  /** 'always': every trace is kept. 'auto': one of more than a million rows that is not being written. */
  readonly mode: 'auto' | 'always';
  readonly signal: AbortSignal;
  /** Is told what is being done, and how much of it is done (0 to 1). */
  readonly onProgress?: (done: number, what: string) => void;
  /** Is told, in one sentence, why a trace is read as it is although it should be kept. Never an error: a cache is not the user's business. */
  readonly onTrouble?: (message: string) => void;
}

/** Above this a trace is worth the room. */
const MANY_ROWS = 1_000_000;

/** No row takes less, in any format: a shorter file is not opened to count them. */
const LEAST_BYTES = MANY_ROWS;

/**
 * Opens traces for SQL as `openAnalysis` does, from what the cache has of them; what is missing there and should be kept is made first. What the
 * analysis then makes itself (`keepExpensive`) is added.
 * @throws CvmtraceError as `openAnalysis`, and INTERRUPTED.
 */
export async function openCached(
  paths: readonly string[],
  options: AnalysisOptions,
  use: CacheUse | undefined,
): Promise<Analysis> {
  if (!use) return openAnalysis(paths, options);
  const entries = new Map<string, CacheEntry>();
  for (const path of new Set(paths)) {
    const entry = await guarded(use, path, () => findOrMake(path, options, use));
    if (entry) entries.set(path, entry);
  }
  try {
    return await openKept(paths, entries, options, use);
  } catch (cause) {
    if (entries.size === 0 || isInterrupt(cause)) throw cause;
    // Deleted meanwhile, or damaged where only DuckDB sees it: a cache is never in the way.
    for (const entry of entries.values()) use.cache.remove(entry);
    use.onTrouble?.(`the cache could not be read and was cleared of ${paths.join(', ')}`);
    return openAnalysis(paths, options);
  }
}

/** The report on a trace that an earlier call of `keepReport` kept, if the trace is still the same. Does not load DuckDB. */
export async function keptReport(path: string, use: CacheUse): Promise<Report | undefined> {
  const entry = await guarded(use, path, () => find(path, use));
  return entry?.report(path);
}

/** Keeps the report on a trace, if the cache has that. */
export async function keepReport(report: Report, use: CacheUse): Promise<void> {
  const { path } = report.header;
  await guarded(use, path, async () => (await find(path, use))?.keepReport(report));
}

async function find(path: string, use: CacheUse): Promise<CacheEntry | undefined> {
  if (!isCandidate(path, use)) return undefined;
  return use.cache.find(path, use.signal, hashProgress(use));
}

async function findOrMake(path: string, options: AnalysisOptions, use: CacheUse): Promise<CacheEntry | undefined> {
  const found = await find(path, use);
  if (found || !isCandidate(path, use)) return found;
  if (use.mode === 'auto' && (await countRows(path)) <= MANY_ROWS) return undefined;
  return use.cache.make(path, use.signal, (file) => makeRows(path, file, options, use), hashProgress(use));
}

async function makeRows(
  path: string,
  file: string,
  options: AnalysisOptions,
  { signal, onProgress }: CacheUse,
): Promise<Omit<KeptTrace, 'rowsFile' | 'expensiveFile'>> {
  let of = Infinity;
  const analysis = await openAnalysis([path], {
    ...options,
    // Only SQL of our own runs in it.
    allowFiles: true,
    onRows: (rows) => onProgress?.(Math.min(1, rows / of), 'loading rows into the cache'),
  });
  const interrupt = (): void => analysis.interrupt();
  signal.addEventListener('abort', interrupt);
  try {
    signal.throwIfAborted();
    const [trace] = analysis.traces;
    if (!trace) throw new Error('an analysis of one trace without a trace');
    of = trace.rows;
    await writeRows(analysis, file);
    const { kind, metadata, rows, complete, ops } = trace;
    return { kind, metadata, rows, complete, ops };
  } finally {
    signal.removeEventListener('abort', interrupt);
    await analysis.close();
  }
}

async function openKept(
  paths: readonly string[],
  entries: ReadonlyMap<string, CacheEntry>,
  options: AnalysisOptions,
  use: CacheUse,
): Promise<Analysis> {
  return openAnalysis(paths, {
    ...options,
    kept: new Map([...entries].map(([path, entry]) => [path, entry.kept])),
    onDamage: () => {
      for (const entry of entries.values()) use.cache.remove(entry);
    },
    onExpensive: async (analysis) => {
      for (const [trace, path] of paths.entries()) {
        const entry = entries.get(path);
        if (!entry || entry.kept.expensiveFile !== undefined) continue;
        use.onProgress?.(1, 'keeping what was made in the cache');
        await guarded(use, path, () => use.cache.addExpensive(entry, (file) => analysis.writeExpensive(trace, file)));
      }
    },
  });
}

/** Only a regular file that is large enough, and in mode auto no capture that is going on. */
function isCandidate(path: string, { mode }: CacheUse): boolean {
  if (mode === 'always') return markOf(path) !== undefined;
  return !path.endsWith('.partial') && (statSync(path, { throwIfNoEntry: false })?.size ?? 0) >= LEAST_BYTES;
}

async function countRows(path: string): Promise<number> {
  if (sniffTraceKind(path) === 'parquet') {
    const analysis = await openAnalysis([path]);
    await analysis.close();
    return analysis.traces[0]?.rows ?? 0;
  }
  const trace = TraceFile.open(path, { allowPartial: true });
  trace.close();
  return trace.rows;
}

function hashProgress({ onProgress }: CacheUse): (bytes: number, of: number) => void {
  return (bytes, of) => onProgress?.(bytes / of, 'looking for the trace in the cache');
}

/** Does without the cache what fails for its sake; only an interrupt ends the caller's work. */
async function guarded<T>(
  { signal, onTrouble }: CacheUse,
  path: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (cause) {
    signal.throwIfAborted();
    if (isInterrupt(cause)) throw cause;
    // What is wrong with the trace is said when it is opened.
    const isOfTrace = cause instanceof CvmtraceError && ['BAD_INPUT', 'NO_INPUT'].includes(cause.code);
    const why = cause instanceof Error ? cause.message : String(cause);
    if (!isOfTrace) onTrouble?.(`${path} is not kept in the cache: ${why}`);
    return undefined;
  }
}

function isInterrupt(cause: unknown): boolean {
  return cause instanceof CvmtraceError && cause.code === 'INTERRUPTED';
}
