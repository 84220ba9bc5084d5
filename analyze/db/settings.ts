import { statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Analysis } from './analysis.ts';
import type { KeptTrace } from './kept-trace.ts';

export interface AnalysisOptions {
  /** What DuckDB may hold in memory, bytes; beyond it, it spills to `tempDir`. Default 768 MiB. */
  readonly memoryLimitBytes?: number;
  /** Threads of DuckDB. Default: as many as the process may use, and two more where an Arrow trace is read. */
  readonly threads?: number;
  /** Lets SQL read and write any file that the process can. Default false: only the given traces are readable. */
  readonly allowFiles?: boolean;
  /** By path, traces that were kept as DuckDB files: these are read in their place. */
  readonly kept?: ReadonlyMap<string, KeptTrace>;
  /** Is called when DuckDB finds that a kept file is damaged; the query fails. */
  readonly onDamage?: () => void;
  /** Is called when `Analysis.keepExpensive` has made its tables. */
  readonly onExpensive?: (analysis: Analysis) => Promise<void>;
  /** Is told how many rows of Arrow traces have been read since the opening, by all queries; often. */
  readonly onRows?: (rows: number) => void;
  /** Folder for a private scratch folder (spilled data, results on their way to their file). Default os.tmpdir(). */
  readonly tempDir?: string;
}

/** A thread that waits for read_trace, which runs on the JavaScript thread, uses no processor: others can (measured, `bench run read-trace`). */
const WAITING_THREADS = 2;

/**
 * What DuckDB does not count (its allocator's slack, some 300 MB) and what Node holds (some 400 MB while it walks over a trace) come on top: the
 * process stays below 2 GiB (`bench run big-trace`).
 */
const DEFAULT_MEMORY_BYTES = 768 * 1024 ** 2;

/** Configuration with which the database is opened. Nothing is ever installed or loaded from the network. */
export function openingConfig(options: AnalysisOptions, spillDir: string): Record<string, string> {
  return {
    threads: String(threadsFor(options, false)),
    memory_limit: `${options.memoryLimitBytes ?? DEFAULT_MEMORY_BYTES}B`,
    temp_directory: spillDir,
    max_temp_directory_size: `${freeBytes(spillDir)}B`,
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_community_extensions: 'false',
    preserve_insertion_order: 'true',
  };
}

/** Threads for traces of which some are Arrow, or none is. */
export function threadsFor(options: AnalysisOptions, hasArrow: boolean): number {
  return options.threads ?? availableParallelism() + (hasArrow ? WAITING_THREADS : 0);
}

/**
 * Statements after which SQL reaches nothing but the given files and the output folder, and cannot change that: traces, and files of SQL that
 * come with them, are untrusted.
 */
export function lockingStatements(options: AnalysisOptions, readable: readonly string[], outDir: string): string[] {
  if (options.allowFiles === true) return ['set lock_configuration = true'];
  return [
    `set allowed_paths = [${readable.map(quote).join(', ')}]`,
    `set allowed_directories = [${quote(`${outDir}/`)}]`,
    'set enable_external_access = false',
    'set lock_configuration = true',
  ];
}

/** A text as an SQL literal. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Half of what is free: SQL that is out of hand fails before it fills the disk. */
function freeBytes(dir: string): number {
  const { bavail, bsize } = statfsSync(dir);
  return Math.floor((bavail * bsize) / 2);
}

/** SQL types of the format's column types. */
export const SQL_TYPES = {
  uint16: 'usmallint',
  uint32: 'uinteger',
  uint64: 'ubigint',
  int64: 'bigint',
  utf8: 'varchar',
  'dictionary<uint8, utf8>': 'op_name',
} as const;
