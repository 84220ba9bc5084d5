import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../native/index.ts';

/** The folder with the views, one file per topic. */
export const SQL_DIR = join(PACKAGE_ROOT, 'analyze', 'sql');

/** Files that others build on come first; the rest in the order of their names. */
const FIRST = ['events', 'conversions', 'page_flips', 'phases'];

/** Names of the topics in an order in which their files can be run. */
export function viewTopics(): string[] {
  const topics = readdirSync(SQL_DIR)
    .filter((name) => name.endsWith('.sql'))
    .map((name) => name.slice(0, -'.sql'.length))
    .sort();
  return [...FIRST, ...topics.filter((topic) => !FIRST.includes(topic))];
}

/** SQL that makes the views of a topic over `events` (for `events` itself over `_trace_rows`). */
export function viewSql(topic: string): string {
  return readFileSync(join(SQL_DIR, `${topic}.sql`), 'utf8');
}

export interface DocumentedColumn {
  readonly name: string;
  readonly meaning: string;
}

/** The columns of a topic's view, as its file documents them: `-- @column NAME MEANING`. */
export function documentedColumns(topic: string): DocumentedColumn[] {
  return [...viewSql(topic).matchAll(/^-- @column (\S+) +(.+)$/gm)].map(([, name = '', meaning = '']) => ({
    name,
    meaning,
  }));
}
