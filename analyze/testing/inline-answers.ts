import type { Value } from '../db/chunk.ts';
import { libraryQueries } from '../db/library.ts';
import { inlineAnalysis, type InlineRow } from './inline-rows.ts';

/** Answers of the documented queries to rows that a test writes, by name of the query. */
export function inlineAnswers(): (name: string, rows: readonly InlineRow[], columns?: string) => Promise<Value[][]> {
  const { rowsOf } = inlineAnalysis();
  const queries = new Map(libraryQueries().map(({ name, sql }) => [name, sql]));
  return (name, rows, columns = '*') => {
    const sql = queries.get(name);
    if (sql === undefined) throw new Error(`no query ${name}`);
    return rowsOf(rows, `select ${columns} from (${sql.trim().replace(/;$/, '')})`);
  };
}
