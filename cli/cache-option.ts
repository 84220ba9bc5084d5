import type { Command } from 'commander';
import {
  DEFAULT_LIMIT_BYTES,
  openCached,
  TraceCache,
  type Analysis,
  type AnalysisOptions,
  type CacheUse,
} from '../analyze/index.ts';
import { parseSize } from '../capture/size.ts';
import { CvmtraceError } from '../native/index.ts';
import { startProgress, type Progress } from './progress.ts';
import type { VerbContext } from './verb.ts';

/** `--cache` and `--no-cache`; without either, large traces are kept. */
export interface CacheOption {
  readonly cache?: boolean;
}

/** A paragraph for the --help of verbs that have the option. */
export const CACHE_DETAILS = `\
A trace of more than a million rows is loaded into the cache first, where what is expensive is kept too: the next question to it takes a fraction of
the time. "cvmtrace cache list" shows what is there.`;

export function declareCache(command: Command): Command {
  return command
    .option('--cache', 'keep what is made of the trace, however small it is')
    .option('--no-cache', 'read the trace as it is, and keep nothing');
}

/** The cache of a command line, with CVMTRACE_CACHE_LIMIT as its limit. */
export function cacheOf({ io }: Pick<VerbContext, 'io'>): TraceCache {
  const limit = io.env['CVMTRACE_CACHE_LIMIT'];
  const bytes = limit === undefined || limit === '' ? DEFAULT_LIMIT_BYTES : parseSize(limit);
  if (bytes === undefined) {
    throw new CvmtraceError('USAGE', `CVMTRACE_CACHE_LIMIT is not a size: ${String(limit)}`, {
      hint: 'write whole bytes, or K, M, G, T for powers of 1024: CVMTRACE_CACHE_LIMIT=20G',
    });
  }
  return new TraceCache(TraceCache.folderOf(io.env), bytes);
}

const QUIET_MS = 300;

/** How a verb opens traces: by the cache or not, with a bar on the terminal while it takes long. */
export class Opening {
  /** Undefined with --no-cache. */
  readonly use: CacheUse | undefined;
  readonly #context: VerbContext;
  #bar: Progress | undefined;
  /** What is quickly over has no bar: one comes this long after the start, or after something was printed. */
  #quietSince = performance.now();

  constructor(context: VerbContext, { cache }: CacheOption) {
    this.#context = context;
    if (cache === false) return;
    this.use = {
      cache: cacheOf(context),
      mode: cache === true ? 'always' : 'auto',
      signal: context.signal,
      onProgress: (done, what) => this.progress(done, what),
      onTrouble: (message) => {
        this.done();
        context.output.warn(message);
      },
    };
  }

  /** Opens traces, with a bar also for what reading them takes later. */
  async open(paths: readonly string[], options: AnalysisOptions = {}): Promise<Analysis> {
    let of = 0;
    const onRows = (rows: number): void => {
      if (of > 0) this.progress((rows % of) / of, `reading, pass ${Math.floor(rows / of) + 1}`);
    };
    try {
      const analysis = await openCached(paths, { ...options, onRows }, this.use);
      of = analysis.traces.reduce((sum, { rows }) => sum + rows, 0);
      return analysis;
    } finally {
      this.done();
    }
  }

  progress(done: number, what: string): void {
    if (!this.#bar && performance.now() - this.#quietSince < QUIET_MS) return;
    this.#bar ??= startProgress(this.#context, 1, what);
    this.#bar.update(done, what);
  }

  /** Takes the bar off, before anything is printed. */
  done(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#quietSince = performance.now();
  }
}
