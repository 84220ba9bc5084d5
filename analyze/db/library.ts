import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readsOf, SQL_DIR, sqlFiles, sqlTopics, viewSql } from './views.ts';

/** The folder with the documented queries, one file per question. */
export const QUESTIONS_DIR = join(SQL_DIR, 'questions');

/** A view and a table macro have rows and columns, a macro is a function of values, a query is run by its name. */
export type LibraryKind = 'view' | 'table macro' | 'macro' | 'query';

export interface DocumentedColumn {
  readonly name: string;
  /** What it is, and its unit. */
  readonly meaning: string;
}

/** Something of `sql/` that is there for everybody, as its comment documents it. */
export interface LibraryItem {
  readonly name: string;
  readonly kind: LibraryKind;
  /** Its name as it is written in SQL: with the parameters of a macro. */
  readonly signature: string;
  /** One sentence; of a query, its question. */
  readonly summary: string;
  /** The paragraphs after it; lines in them that begin with blanks are code. */
  readonly text: string;
  /** None for a macro. */
  readonly columns: readonly DocumentedColumn[];
  /** SQL that runs on any trace: an example, of a query itself. */
  readonly sql: string;
  /** The command line that runs it. */
  readonly example: string;
  /** Its file, from the folder `sql/`. */
  readonly file: string;
}

/** A documented query: the answer to a question. */
export interface LibraryQuery extends LibraryItem {
  readonly kind: 'query';
  /** Number of the question. */
  readonly number: number;
  /** Views and macros of the library that it reads. */
  readonly reads: readonly string[];
  /** Command lines that make traces for it, or measure what it asks for. */
  readonly also: readonly string[];
  /** What the data cannot say. */
  readonly limits: readonly string[];
}

/** A comment that documents a name: the lines of a block, without what marks them as comment. */
interface Block {
  readonly name: string;
  readonly parameters: string | undefined;
  readonly summary: string;
  readonly lines: readonly string[];
}

/** All views and macros in the order of their names, and the queries in that of their questions. */
export function library(): LibraryItem[] {
  const items = sqlTopics().flatMap((topic) => itemsOf(topic));
  return [...items.sort((a, b) => (a.name < b.name ? -1 : 1)), ...libraryQueries()];
}

/** The documented queries in the order of their questions. */
export function libraryQueries(): LibraryQuery[] {
  const names = sqlTopics().flatMap((topic) => itemsOf(topic).map(({ name }) => name));
  return sqlFiles(QUESTIONS_DIR).map((file) => queryOf(file, names));
}

/** The columns of a topic's view, as its file documents them: `-- @column NAME MEANING`. */
export function documentedColumns(topic: string): DocumentedColumn[] {
  return [...(itemsOf(topic).find(({ name }) => name === topic)?.columns ?? [])];
}

function itemsOf(topic: string): LibraryItem[] {
  const sql = viewSql(topic);
  const blocks = blocksOf(sql);
  return [...sql.matchAll(/^create or replace (view|macro) ([a-z]\w*)(?:\([^)]*\) as( table)?)?/gm)].map(
    ([, made, name = '', table]) => {
      const block = blocks.find((candidate) => candidate.name === name);
      if (!block) throw new Error(`${topic}.sql does not document ${name}`);
      const kind = made === 'view' ? 'view' : table === undefined ? 'macro' : 'table macro';
      const like = tagged(block, 'columns')[0];
      const example = tagged(block, 'example')[0] ?? `select * from ${name} limit 10`;
      return {
        ...documentedBy(block),
        kind,
        columns: columnsOf(blocks.find((candidate) => candidate.name === like) ?? block),
        sql: example,
        example: `cvmtrace sql TRACE "${example}"`,
        file: `${topic}.sql`,
      };
    },
  );
}

function queryOf(file: string, libraryNames: readonly string[]): LibraryQuery {
  const sql = readFileSync(join(QUESTIONS_DIR, file), 'utf8');
  const [, number, name] = /^(\d+)-([a-z0-9-]+)\.sql$/.exec(file) ?? [];
  const block = blocksOf(sql).find((candidate) => candidate.name === name);
  if (!block || number === undefined) throw new Error(`questions/${file} does not begin with its name and question`);
  const read = readsOf(sql);
  return {
    ...documentedBy(block),
    kind: 'query',
    columns: columnsOf(block),
    example: `cvmtrace sql TRACE --query ${block.name}`,
    file: `questions/${file}`,
    number: Number(number),
    sql,
    reads: libraryNames.filter((candidate) => read.has(candidate)),
    also: tagged(block, 'also'),
    limits: tagged(block, 'limit'),
  };
}

/** Comments of which the first line begins with a name: `-- name: sentence` or `-- name(parameters): sentence`. */
function blocksOf(sql: string): Block[] {
  return (sql.match(/(?:^--.*\n)+/gm) ?? []).flatMap((comment) => {
    const lines = comment.split('\n').map((line) => line.replace(/^-- ?/, ''));
    const [, name, parameters, summary] = /^([a-z][\w-]*)(\([^)]*\))?: (.+)$/.exec(lines[0] ?? '') ?? [];
    return name === undefined || summary === undefined ? [] : [{ name, parameters, summary, lines: lines.slice(1) }];
  });
}

/** Name, first sentence and text of a block. A sentence that goes on in the next line ends there. */
function documentedBy(block: Block): Pick<LibraryItem, 'name' | 'signature' | 'summary' | 'text'> {
  const tags = block.lines.findIndex((line) => line.startsWith('@'));
  const prose = [block.summary, ...block.lines.slice(0, tags < 0 ? undefined : tags)];
  const paragraphs = prose
    .join('\n')
    .split(/\n\n+/)
    .map((paragraph) => paragraph.replace(/\n(?! )(?<!^ .*\n)/gm, ' ').trim());
  const [first = '', ...rest] = paragraphs;
  const [, summary = first, after = ''] = /^(.*?[.?])(?: (.+))?$/.exec(first) ?? [];
  return {
    name: block.name,
    signature: `${block.name}${block.parameters ?? ''}`,
    summary,
    text: [after, ...rest].filter((paragraph) => paragraph !== '').join('\n\n'),
  };
}

function columnsOf(block: Block): DocumentedColumn[] {
  return tagged(block, 'column').map((text) => {
    const [, name = '', meaning = ''] = /^(\S+) +(.+)$/.exec(text) ?? [];
    return { name, meaning };
  });
}

/** What the lines `@tag …` of a block say. */
function tagged(block: Block, tag: string): string[] {
  return block.lines.filter((line) => line.startsWith(`@${tag} `)).map((line) => line.slice(tag.length + 2).trim());
}
