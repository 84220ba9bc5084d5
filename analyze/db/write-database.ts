/** A DuckDB file of an analysis for other programs: the rows and what is expensive as tables, the library's views and macros over them. */
import { STATE_TABLES } from '../state/tables.ts';
import type { Analysis } from './analysis.ts';
import { duckdb } from './duckdb.ts';
import { EXPENSIVE } from './kept-trace.ts';
import { library } from './library.ts';
import { openingConfig, quote } from './settings.ts';
import { sqlTopics, viewSql } from './views.ts';

/** Name of a table while the view of its name is not yet replaced by it. */
function tableOf(name: string): string {
  return name in STATE_TABLES ? name : `_made_${name}`;
}

/**
 * Writes the file, which is readable by DuckDB 1.0 and later, and depends on no other file.
 * @param file new file in a folder that the analysis may write to
 * @param spillDir for data that does not fit in memory
 */
export async function writeDatabase(analysis: Analysis, file: string, spillDir: string): Promise<void> {
  const tables = EXPENSIVE.map((name) => `create table _out.${tableOf(name)} as from ${name};`);
  const rows = 'create table _out._trace_rows as from events; create table _out.traces as from traces;';
  await analysis.query(
    `attach ${quote(file)} as _out; begin; ${rows} ${tables.join('\n')} commit; checkpoint _out; detach _out`,
    {
      permission: 'attach',
    },
  );
  // The views must be made where the tables are `main`: in the file itself.
  const config = duckdb().create_config();
  for (const [name, value] of Object.entries(openingConfig({}, spillDir))) duckdb().set_config(config, name, value);
  const database = await duckdb().open(file, config);
  try {
    const connection = await duckdb().connect(database);
    try {
      for (const sql of [
        'begin',
        ...sqlTopics().map(viewSql),
        ...tablesForViews(),
        ...comments(),
        'commit',
        'checkpoint',
      ])
        await duckdb().query(connection, sql);
    } finally {
      duckdb().disconnect_sync(connection);
    }
  } finally {
    duckdb().close_sync(database);
  }
}

/** Views of which the content is there become tables. */
function tablesForViews(): string[] {
  const made = EXPENSIVE.filter((name) => !(name in STATE_TABLES));
  return [
    'drop view events; alter table _trace_rows rename to events',
    ...made.map((name) => `drop view ${name}; alter table ${tableOf(name)} rename to ${name}`),
    'create or replace view _conversions as select * exclude (retries, partial) from conversions',
  ];
}

/** What the library says of its views and columns, where the duckdb shell and BI tools show it. */
function comments(): string[] {
  return library()
    .filter(({ kind }) => kind === 'view')
    .flatMap(({ name, summary, columns }) => {
      const what = EXPENSIVE.includes(name) || name === 'events' ? 'table' : 'view';
      return [
        `comment on ${what} ${name} is ${quote(summary)}`,
        ...columns.map((column) => `comment on column ${name}."${column.name}" is ${quote(column.meaning)}`),
      ];
    });
}
