import type { Analysis } from '../db/analysis.ts';
import type { Value } from '../db/chunk.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { inlineSql, type InlineRow } from './inline-rows.ts';

/** An analysis whose traces are these rows, kept as a table: for many traces at once. The caller closes it. */
export async function analysisOf(rows: readonly InlineRow[]): Promise<Analysis> {
  const analysis = await openAnalysis([], { threads: 2 });
  try {
    await analysis.query(
      `create table _inline_rows as ${inlineSql(rows)}; create or replace view _trace_rows as from _inline_rows`,
    );
    return analysis;
  } catch (error) {
    await analysis.close();
    throw error;
  }
}

/** The rows of a query as objects by column; integers come as number. */
export async function selectFrom(analysis: Analysis, sql: string): Promise<Record<string, Value>[]> {
  const { columns, rows } = await analysis.query(sql);
  return rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, plain(row[i] ?? null)])));
}

function plain(value: Value): Value {
  return typeof value === 'bigint' ? Number(value) : value;
}

/** A row of the view `hazards`. */
export interface FoundHazard {
  readonly kind: string;
  readonly severity: string;
  readonly seq: number;
  readonly ts_ns: number | null;
  readonly vm: number | null;
  readonly obj: number | null;
  readonly gpa: number | null;
  readonly iova: number | null;
  readonly len: number | null;
  readonly count: number | null;
  readonly age_ns: number | null;
  readonly proof: readonly number[];
  readonly explanation: string;
}

/** The hazards of each of some traces, by the number of the trace. */
export async function hazardsByTrace(rows: readonly InlineRow[]): Promise<Map<number, FoundHazard[]>> {
  await using analysis = await analysisOf(rows);
  const found = new Map<number, FoundHazard[]>();
  const all = await selectFrom(
    analysis,
    `select * replace (array_to_string(proof, ',') as proof) from hazards order by trace, seq, kind`,
  );
  for (const { trace, proof, ...rest } of all) {
    const numbers = typeof proof === 'string' ? proof.split(',').map(Number) : [];
    const hazard = { ...rest, proof: numbers } as unknown as FoundHazard;
    found.set(Number(trace), [...(found.get(Number(trace)) ?? []), hazard]);
  }
  return found;
}
