import type { Connection } from '@duckdb/node-bindings';
import { CvmtraceError } from '../../native/index.ts';
import { parseMetadata } from '../../capture/trace/metadata-json.ts';
import { COLUMNS, METADATA_KEY, TRACE_END } from '../../capture/trace/schema.ts';
import type { SelectableTrace } from './analysis.ts';
import { chunkRows, textOf, type Value } from './chunk.ts';
import { quote, SQL_TYPES } from './settings.ts';
import { duckdb } from './duckdb.ts';

/**
 * Reads what is to be known about a Parquet trace before SQL can see it.
 * @throws CvmtraceError BAD_INPUT if it is damaged or not a trace.
 */
export async function openParquet(connection: Connection, path: string): Promise<SelectableTrace> {
  const file = quote(path);
  try {
    const keyed = await rows(
      connection,
      `select decode(value) from parquet_kv_metadata(${file}) where key::blob = ${quote(METADATA_KEY)}::blob`,
    );
    const json = keyed[0]?.[0];
    if (typeof json !== 'string') throw notATrace(path, `it has no metadata '${METADATA_KEY}'`);
    const metadata = parseMetadata(json, path);
    const columns = new Set((await rows(connection, `describe from ${rowsOf(path)}`)).map(([name]) => name));
    const missing = COLUMNS.find((column) => !('optional' in column) && !columns.has(column.name));
    if (missing) throw notATrace(path, `it has no column ${missing.name}`);
    const [count] = await rows(connection, `select num_rows from parquet_file_metadata(${file})`);
    const ops = await rows(connection, `select distinct op::varchar from ${rowsOf(path)} where op is not null`);
    const ends = await rows(
      connection,
      `select 1 from ${rowsOf(path)} where op = 'mark' and detail = ${quote(TRACE_END)} limit 1`,
    );
    return {
      path,
      kind: 'parquet',
      metadata,
      rows: Number(count?.[0]),
      complete: ends.length > 0,
      ops: ops.map(([op]) => textOf(op)),
      select: select(path, columns),
    };
  } catch (cause) {
    if (cause instanceof CvmtraceError) throw cause;
    const message = cause instanceof Error ? (cause.message.split('\n', 1)[0] ?? '') : String(cause);
    throw new CvmtraceError('BAD_INPUT', `${path} cannot be read as Parquet: ${message}`, { path, cause });
  }
}

/** The file's own columns: DuckDB would take a folder of the name "len=5" for a column that replaces the file's. */
function rowsOf(path: string): string {
  return `read_parquet(${quote(path)}, hive_partitioning = false)`;
}

/** Selects the columns of the format from a Parquet trace; ones it does not have are null. */
function select(path: string, columns: ReadonlySet<Value | undefined>): string {
  const list = COLUMNS.map(
    ({ name, type }) => `${columns.has(name) ? `"${name}"` : 'null'}::${SQL_TYPES[type]} as "${name}"`,
  );
  return `select ${list.join(', ')} from ${rowsOf(path)}`;
}

function notATrace(path: string, why: string): CvmtraceError {
  return new CvmtraceError('BAD_INPUT', `${path} is a Parquet file but not a trace: ${why}`, {
    path,
    hint: 'cvmtrace export --to parquet writes traces as Parquet',
  });
}

async function rows(connection: Connection, sql: string): Promise<Value[][]> {
  const result = await duckdb().query(connection, sql);
  const all: Value[][] = [];
  // A materialised result ends with empty chunks, not with null.
  for (;;) {
    const chunk = await duckdb().fetch_chunk(result);
    if (chunk === null || duckdb().data_chunk_get_size(chunk) === 0) return all;
    all.push(...chunkRows(chunk));
  }
}
