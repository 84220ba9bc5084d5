import { afterAll, beforeAll } from 'vitest';
import type { OpName } from '../../native/index.ts';
import { COLUMNS, type ColumnName } from '../../capture/trace/schema.ts';
import type { Analysis } from '../db/analysis.ts';
import type { Value } from '../db/chunk.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { quote, SQL_TYPES } from '../db/settings.ts';

/** A row of a trace as a test writes it; what it leaves out is null. `seq` counts up in each trace, `errno` is 0. */
export type InlineRow = { readonly op: OpName; readonly trace?: number; readonly detail?: string } & {
  readonly [N in Exclude<ColumnName, 'op' | 'detail'>]?: number | bigint;
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

/** ASCII's own separators: no text of a test has them. */
const [FIELD, ROW] = ['\u001f', '\u001e'] as const;

/** A select of the rows as `_trace_rows` has them. As one text that DuckDB splits: as literals, 20,000 rows take it a second. */
export function inlineSql(rows: readonly InlineRow[]): string {
  const next = new Map<number, bigint>();
  const lines = rows.map((row) => {
    const trace = row.trace ?? 0;
    const seq = BigInt(row.seq ?? next.get(trace) ?? 0);
    next.set(trace, seq + 1n);
    const full: Readonly<Record<string, number | bigint | string | undefined>> = { errno: 0, ...row, seq };
    return [trace, ...COLUMNS.map(({ name }) => full[name] ?? '')].join(FIELD);
  });
  const columns = COLUMNS.map(({ name, type }, i) => `nullif(f[${i + 2}], '')::${SQL_TYPES[type]} as "${name}"`);
  const text = rows.length === 0 ? '[]::varchar[]' : `string_split(${quote(lines.join(ROW))}, ${quote(ROW)})`;
  return `select f[1]::uinteger as trace, ${columns.join(', ')}
    from (select string_split(line, ${quote(FIELD)}) as f from (select unnest(${text}) as line))`;
}
