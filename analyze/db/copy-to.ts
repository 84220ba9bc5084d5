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

/** Integers of these types are text in JSON: they can pass 2^53. */
const WIDE_INTEGER = /^(U?BIGINT|U?HUGEINT|BIGNUM)$/;

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
  const query = sql.trim().replace(/;+$/, '');
  try {
    if (format === 'arrow')
      await writeArrow(analysis, await withText(analysis, query, (type) => !hasArrowType(type)), scratch, options);
    else
      await analysis.query(
        `copy (\n${await jsonSafe(analysis, query, format)}\n) to ${quote(scratch)} (${copyClause(format, options)})`,
      );
    await move(scratch, path);
  } finally {
    await rm(scratch, { force: true });
  }
}

async function jsonSafe(analysis: Analysis, query: string, format: Exclude<CopyFormat, 'arrow'>): Promise<string> {
  return format === 'json' || format === 'jsonl' ? withText(analysis, query, (type) => WIDE_INTEGER.test(type)) : query;
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
      return `format parquet, compression zstd${pairs.length > 0 ? `, kv_metadata {${pairs.join(', ')}}` : ''}`;
    }
  }
}

/** The query with the columns of some types turned into text. */
async function withText(analysis: Analysis, query: string, asText: (type: string) => boolean): Promise<string> {
  const { rows } = await analysis.query(`describe (\n${query}\n)`);
  const casts = rows.map(([name, type]) => ({
    name: `"${textOf(name).replaceAll('"', '""')}"`,
    text: asText(textOf(type)),
  }));
  if (!casts.some(({ text }) => text)) return query;
  const columns = casts.map(({ name, text }) => (text ? `${name}::varchar as ${name}` : name));
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

async function move(from: string, to: string): Promise<void> {
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
