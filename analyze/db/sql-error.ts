import { CvmtraceError } from '../../native/index.ts';

/**
 * What DuckDB said, as the project's error: an interrupt, a file or network access that is shut off, or SQL that is wrong. One line; the
 * whole text stays in `cause`.
 */
export function sqlError(cause: unknown): CvmtraceError {
  if (cause instanceof CvmtraceError) return cause;
  if (cause instanceof Error && 'syscall' in cause) return new CvmtraceError('IO', cause.message, { cause });
  const text = cause instanceof Error ? cause.message : String(cause);
  const message = text.split('\n', 1)[0] ?? text;
  if (message.startsWith('INTERRUPT Error'))
    return new CvmtraceError('INTERRUPTED', 'the query was interrupted', { cause });
  if (message.startsWith('Permission Error') || message.includes('external extensions is disabled')) {
    return new CvmtraceError('USAGE', `SQL may not reach files or the network: ${message}`, {
      hint: 'name the traces on the command line; --allow-files lets SQL read and write any file',
      cause,
    });
  }
  if (message.startsWith('Out of Memory Error')) {
    return new CvmtraceError('UNAVAILABLE', message, {
      hint: 'raise the memory limit, or point the temporary folder at a larger disk',
      cause,
    });
  }
  if (message.startsWith('IO Error')) return new CvmtraceError('IO', message, { cause });
  return new CvmtraceError('USAGE', message, { hint: sqlHint(text), cause });
}

/** DuckDB's own suggestion ("Did you mean", "Candidate bindings") if it has one, else the line that it could not read. */
function sqlHint(text: string): string {
  const lines = text.split('\n');
  const suggestion = lines.find((line) => /^(Did you mean|Candidate bindings)/.test(line));
  if (suggestion !== undefined) return suggestion;
  const [, number, sql] = lines.map((line) => /^LINE (\d+): (.*)$/.exec(line)).find((match) => match !== null) ?? [];
  if (number !== undefined && sql !== undefined) return `look at line ${number} of the SQL: ${sql}`;
  return "'select * from duckdb_views()' lists the views, 'describe events' the columns of one";
}
