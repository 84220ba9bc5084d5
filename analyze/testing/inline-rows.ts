import { afterAll, beforeAll } from 'vitest';
import type { OpName } from '../../native/index.ts';
import { COLUMNS, type ColumnName } from '../../capture/trace/schema.ts';
import type { Analysis } from '../db/analysis.ts';
import type { Value } from '../db/chunk.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { quote, SQL_TYPES } from '../db/settings.ts';

/** A row of a trace as a test writes it; what it leaves out is null. `seq` counts up in each trace, `errno` is 0. */
export type InlineRow = { readonly op: OpName; readonly trace?: number; readonly detail?: string } & {
  readonly [N in Exclude<ColumnName, 'op' | 'detail'>]?: number;
};

/** An analysis without traces, whose rows a test sets. Opens before and closes after the tests of the file. */
export function inlineAnalysis(): {
  /** Makes these the rows of all traces, then runs SQL over the views; integers come as number. */
  readonly rowsOf: (rows: readonly InlineRow[], sql: string) => Promise<Value[][]>;
} {
  let analysis: Analysis;
  beforeAll(async () => {
    analysis = await openAnalysis([], { threads: 1 });
  });
  afterAll(() => analysis.close());
  return {
    rowsOf: async (rows, sql) => {
      await analysis.query(`create or replace view _trace_rows as ${inlineSql(rows)}`);
      const result = await analysis.query(sql);
      return result.rows.map((row) => row.map((value) => (typeof value === 'bigint' ? Number(value) : value)));
    },
  };
}

function inlineSql(rows: readonly InlineRow[]): string {
  const next = new Map<number, number>();
  const selects = rows.map((row) => {
    const trace = row.trace ?? 0;
    const seq = row.seq ?? next.get(trace) ?? 0;
    next.set(trace, seq + 1);
    const full: Readonly<Record<string, number | string | undefined>> = { errno: 0, ...row, seq };
    const values = COLUMNS.map(({ name, type }) => `${literal(full[name])}::${SQL_TYPES[type]} as "${name}"`);
    return `select ${trace}::uinteger as trace, ${values.join(', ')}`;
  });
  return selects.join(' union all ');
}

function literal(value: number | string | undefined): string {
  if (value === undefined) return 'null';
  return typeof value === 'string' ? quote(value) : String(value);
}
