import { duckdb } from './duckdb.ts';

/** What a caller of an analysis may do beside asking. */
export type Permission =
  /** SQL of a person, or of a file that came with a trace. */
  | 'ask'
  /** The analysis' own SQL, which writes one result to its output folder. */
  | 'copy'
  /** The same, which attaches a database there. */
  | 'attach';

/**
 * Words that open, write or replace files. DuckDB's `allowed_paths` makes no difference between reading and writing: without this check
 * `copy ... (use_tmp_file false)` may replace a Parquet trace by its result, and `attach` open a cached trace for writing.
 */
const FILE_WORDS = /\b(copy|attach|detach|export)\b/i;

/** They run in the instance and not under its lock; where files are shut off, a log file ends the process. */
const LOGS = /\benable_(logging|profiling)\b/i;

/** Types of statements that are never for SQL on traces: what is prepared is not seen when it is executed. */
const REFUSED: readonly string[] = [
  ...['EXPORT', 'COPY_DATABASE', 'ATTACH', 'DETACH', 'LOAD', 'EXTENSION', 'UPDATE_EXTENSIONS'],
  ...['PREPARE', 'EXECUTE', 'MULTI', 'INVALID'],
];

/**
 * Refuses a statement that would write where the analysis may, although external access is off.
 * @param type DuckDB's type of the statement, which is one of so many in `sql`
 * @throws Error as DuckDB's own for what it refuses.
 */
export function assertPermitted(type: number, sql: string, statements: number, permission: Permission): void {
  const name = duckdb().StatementType[type] ?? 'INVALID';
  const attaches = permission === 'attach' && (name === 'ATTACH' || name === 'DETACH');
  if (REFUSED.includes(name) && !attaches) refuse(name);
  // One statement alone: a query that is put into it cannot end it and begin another.
  if (name === 'COPY' && (permission !== 'copy' || statements !== 1)) refuse(name);
  // EXPLAIN ANALYZE runs what it explains.
  if (name === 'EXPLAIN' && FILE_WORDS.test(sql)) refuse('EXPLAIN of a statement that works with files');
  if (LOGS.test(sql)) refuse('a log of DuckDB');
}

function refuse(what: string): never {
  throw new Error(`Permission Error: ${what} is not for SQL on traces`);
}
