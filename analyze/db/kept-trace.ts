/** A trace as DuckDB files that were made from it and stand in its place: its rows, and the tables that are expensive to make. */
import type { Connection } from '@duckdb/node-bindings';
import { COLUMNS } from '../../capture/trace/schema.ts';
import { STATE_TABLES } from '../state/tables.ts';
import type { Analysis, OpenTrace, SelectableTrace } from './analysis.ts';
import { duckdb } from './duckdb.ts';
import { quote } from './settings.ts';

export interface KeptTrace extends Omit<OpenTrace, 'path'> {
  /** DuckDB file with the table `rows`, in the order of seq. */
  readonly rowsFile: string;
  /** DuckDB file with a table for each of EXPENSIVE; undefined if they have not been made. */
  readonly expensiveFile: string | undefined;
}

/** Tables and views, all with a column `trace`, that are kept beside the rows. */
export const EXPENSIVE: readonly string[] = ['conversions', 'op_latency', ...Object.keys(STATE_TABLES)];

const COLUMN_LIST = COLUMNS.map(({ name }) => `"${name}"`).join(', ');

/** The kept files of one analysis, each attached once, read-only. */
export class KeptFiles {
  readonly #connection: Connection;
  readonly #names = new Map<string, string>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Name of the file's database in SQL. */
  async attach(file: string): Promise<string> {
    const known = this.#names.get(file);
    if (known !== undefined) return known;
    const name = `_kept_${this.#names.size}`;
    await duckdb().query(this.#connection, `attach ${quote(file)} as ${name} (read_only)`);
    this.#names.set(file, name);
    return name;
  }

  async open(path: string, kept: KeptTrace): Promise<SelectableTrace> {
    const { kind, metadata, rows, complete, ops } = kept;
    const columns = COLUMN_LIST.replace('"op"', '"op"::op_name as "op"');
    return {
      ...{ path, kind, metadata, rows, complete, ops },
      select: `select ${columns} from ${await this.attach(kept.rowsFile)}.rows`,
    };
  }

  /** SQL that puts what was kept of the traces, in their order, in the place of the tables and views of EXPENSIVE. */
  async expensiveSql(files: readonly string[]): Promise<string> {
    const databases: string[] = [];
    for (const file of files) databases.push(await this.attach(file));
    const views = EXPENSIVE.map((name) => {
      const op = name === 'op_latency' ? ', op::op_name as op' : '';
      const parts = databases.map(
        (database, trace) => `select * replace (${trace}::uinteger as trace${op}) from ${database}.${name}`,
      );
      const old = name in STATE_TABLES ? `drop table ${name};` : '';
      return `${old} create or replace view ${name} as ${parts.join(' union all ')};`;
    });
    const narrow = 'create or replace view _conversions as select * exclude (retries, partial) from conversions;';
    return [...views, narrow].join('\n');
  }
}

/** Writes the rows of an analysis' only trace to a new DuckDB file, in the order of seq. The analysis must be one that may write files. */
export async function writeRows(analysis: Analysis, file: string): Promise<void> {
  const create = `create table _out.rows as select ${COLUMN_LIST} from _trace_rows`;
  await analysis.query(`attach ${quote(file)} as _out; ${create}`);
  // They are in order in what cvmtrace writes, and sorting costs more than all else.
  const { rows } = await analysis.query('select count(*) from _out.rows where seq is distinct from rowid');
  if (rows[0]?.[0] !== 0n) {
    await analysis.query(
      `create table _out.sorted as from _out.rows order by seq; drop table _out.rows; alter table _out.sorted rename to rows`,
    );
  }
  await analysis.query('checkpoint _out; detach _out');
}

/** Writes what EXPENSIVE names of one trace to a new DuckDB file, which the analysis must be allowed to write. */
export async function writeExpensive(analysis: Analysis, trace: number, file: string): Promise<void> {
  const create = EXPENSIVE.map(
    (name) =>
      `create table _out.${name} as select * replace (0::uinteger as trace) from ${name} where trace = ${trace};`,
  );
  await analysis.query(
    [`attach ${quote(file)} as _out; begin;`, ...create, 'commit; checkpoint _out; detach _out'].join('\n'),
    {
      permission: 'attach',
    },
  );
}
