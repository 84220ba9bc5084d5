import { createWriteStream } from 'node:fs';
import { copyFile, rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { CvmtraceError } from '../../native/index.ts';
import type { Analysis } from './analysis.ts';
import { textOf } from './chunk.ts';
import { encodeResult, hasArrowType } from './arrow-result.ts';
import { quote } from './settings.ts';

/** csv has a header line and empty fields for null; json is one array, jsonl a line per row; parquet is compressed with zstd. */
export type CopyFormat = 'csv' | 'json' | 'jsonl' | 'arrow' | 'parquet';

export interface CopyOptions {
  /** Key-value metadata of the file; Arrow and Parquet only. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Rows of a group of Parquet. Twice DuckDB's own number: a trace of 10 million rows is 6 % smaller, and each thread holds some tens of MiB of it. */
const ROW_GROUP_ROWS = 262_144;

/** The type that a column of this type, as `describe` writes it, must become in a format; undefined if it can stay. */
function castFor(format: CopyFormat, type: string): string | undefined {
  switch (format) {
    case 'csv':
      return undefined;
    case 'json':
    case 'jsonl':
      // They can pass 2^53, where JSON's readers lose digits.
      return /^(U?BIGINT|U?HUGEINT|BIGNUM)$/.test(type) ? 'varchar' : undefined;
    case 'arrow':
      return hasArrowType(type) ? undefined : 'varchar';
    case 'parquet':
      // DuckDB would write them as double: sums of 64-bit integers are HUGEINT.
      if (type === 'HUGEINT') return 'decimal(38, 0)';
      return type === 'UHUGEINT' || type === 'BIGNUM' ? 'varchar' : undefined;
  }
}

/**
 * Writes the result of one query to `scratch`, then moves it to `path`. SQL can only write below the scratch folder, whatever the path is, and
 * the path never holds half a result.
 */
export async function copyResult(
  analysis: Analysis,
  sql: string,
  format: CopyFormat,
  path: string,
  scratch: string,
  options: CopyOptions,
): Promise<void> {
  const query = await withCasts(analysis, sql.trim().replace(/;+$/, ''), format);
  try {
    if (format === 'arrow') await writeArrow(analysis, query, scratch, options);
    else
      await analysis.query(`copy (\n${query}\n) to ${quote(scratch)} (${copyClause(format, options)})`, {
        permission: 'copy',
      });
    await move(scratch, path);
  } finally {
    await rm(scratch, { force: true });
  }
}

function copyClause(format: Exclude<CopyFormat, 'arrow'>, options: CopyOptions): string {
  switch (format) {
    case 'csv':
      return 'format csv, header true';
    case 'json':
      return 'format json, array true';
    case 'jsonl':
      return 'format json, array false';
    case 'parquet': {
      const pairs = Object.entries(options.metadata ?? {}).map(([key, value]) => `${quote(key)}: ${quote(value)}`);
      return `format parquet, compression zstd, row_group_size ${ROW_GROUP_ROWS}${pairs.length > 0 ? `, kv_metadata {${pairs.join(', ')}}` : ''}`;
    }
  }
}

/** The query with the casts that the format needs. */
async function withCasts(analysis: Analysis, query: string, format: CopyFormat): Promise<string> {
  const { rows } = await analysis.query(`describe (\n${query}\n)`);
  const casts = rows.map(([column, type]) => ({
    name: `"${textOf(column).replaceAll('"', '""')}"`,
    cast: castFor(format, textOf(type)),
  }));
  if (casts.every(({ cast }) => cast === undefined)) return query;
  const columns = casts.map(({ name, cast }) => (cast === undefined ? name : `${name}::${cast} as ${name}`));
  return `select ${columns.join(', ')} from (\n${query}\n)`;
}

async function writeArrow(analysis: Analysis, query: string, path: string, options: CopyOptions): Promise<void> {
  const stream = await analysis.stream(query);
  try {
    await pipeline(encodeResult(stream.columns, stream, options.metadata), createWriteStream(path, { flags: 'wx' }));
  } finally {
    await stream.close();
  }
}

/** Moves a file, to another file system too; the new name appears when it is whole. */
export async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (cause) {
    if (!isExdev(cause)) throw writeError(to, cause);
    const partial = `${to}.partial`;
    try {
      await copyFile(from, partial);
      await rename(partial, to);
    } catch (failure) {
      await rm(partial, { force: true });
      throw writeError(to, failure);
    }
  }
}

function isExdev(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'EXDEV';
}

function writeError(path: string, cause: unknown): CvmtraceError {
  return new CvmtraceError('IO', `cannot write ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
    path,
    cause,
  });
}
