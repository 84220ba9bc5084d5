import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../native/index.ts';

/** The folder with the views and macros, one file per topic. */
export const SQL_DIR = join(PACKAGE_ROOT, 'analyze', 'sql');

/** A file of SQL by what it makes and what it reads. */
interface Topic {
  readonly name: string;
  readonly sql: string;
  /** Views and macros that it makes, in their order. */
  readonly makes: readonly string[];
  readonly reads: ReadonlySet<string>;
}

let topics: readonly Topic[] | undefined;

/** All files, those that others build on first: a view can only be made once what it reads is there. */
function readTopics(): readonly Topic[] {
  return (topics ??= inOrder(sqlFiles(SQL_DIR).map((file) => readTopic(file))));
}

function readTopic(file: string): Topic {
  const sql = readFileSync(join(SQL_DIR, file), 'utf8');
  const made = sql.matchAll(/^create or replace (?:view|macro) (\w+)/gm);
  return {
    name: file.slice(0, -'.sql'.length),
    sql,
    makes: [...made].map(([, name = '']) => name),
    reads: readsOf(sql),
  };
}

/** Names of the SQL files of a folder, sorted. */
export function sqlFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort();
}

/** Tables, views and macros that SQL of this folder reads: names after `from` and `join`, and those that are called. */
export function readsOf(sql: string): ReadonlySet<string> {
  const names = sql.replace(/--.*/g, '').matchAll(/\b(?:from|join) (\w+)|(\w+)\(/g);
  return new Set([...names].map(([, table, called = '']) => table ?? called));
}

function inOrder(files: readonly Topic[]): Topic[] {
  const ordered = new Set<Topic>();
  const place = (topic: Topic, above: readonly Topic[]): void => {
    if (above.includes(topic)) throw new Error(`${topic.name}.sql needs itself`);
    for (const other of files) if (other !== topic && reads(topic, other)) place(other, [...above, topic]);
    ordered.add(topic);
  };
  for (const topic of files) place(topic, []);
  return [...ordered];
}

function reads(topic: Topic, other: Topic): boolean {
  return other.makes.some((name) => topic.reads.has(name));
}

/** Names of the topics in an order in which their files can be run. */
export function sqlTopics(): string[] {
  return readTopics().map(({ name }) => name);
}

/** Names of the views for everybody, in the same order. A topic's view has the topic's name. */
export function viewTopics(): string[] {
  return readTopics()
    .filter(({ name, sql }) => new RegExp(`^create or replace view ${name} `, 'm').test(sql))
    .map(({ name }) => name);
}

/** SQL that makes the views and macros of a topic over `events` (for `events` itself over `_trace_rows`). */
export function viewSql(topic: string): string {
  return readFileSync(join(SQL_DIR, `${topic}.sql`), 'utf8');
}
