/** Fills the state tables of an analysis by walking over each of its traces. */
import { CvmtraceError } from '../../native/index.ts';
import type { Analysis } from '../db/analysis.ts';
import { textOf } from '../db/chunk.ts';
import { emptyStateTables, type TableConnection } from '../db/table-writer.ts';
import { StateRows, STATE_COLUMNS, STATE_WHERE } from './state-row.ts';
import { TableSink } from './table-sink.ts';
import { teeSink } from './tee-sink.ts';
import { DEFAULT_LIMITS, TooMuchStateError, type HazardLimits, type TraceFacts } from './facts.ts';
import { Walk } from './walk.ts';
import type { StateSink } from './sink.ts';

/**
 * @param beside makes another sink that is told of the same walk, where there is one trace
 * @throws CvmtraceError as `Analysis.query`; UNAVAILABLE if more is live at a time than fits in memory
 */
export async function fillStateTables(
  analysis: Analysis,
  connection: TableConnection,
  beside?: () => StateSink,
): Promise<Walk | undefined> {
  await emptyStateTables(connection);
  if (analysis.traces.length === 0) {
    await walkAll(analysis, connection);
    return undefined;
  }
  let last: Walk | undefined;
  for (const trace of analysis.traces.keys()) {
    let tables: TableSink | undefined;
    try {
      const { walk } = await walkTrace(analysis, trace, async () => {
        tables?.close();
        await emptyStateTables(connection, trace);
        tables = new TableSink(connection, trace);
        return beside ? teeSink(tables, beside()) : tables;
      });
      last = walk;
    } finally {
      tables?.close();
    }
  }
  return last;
}

/** Rows that no trace stands behind: those of tests. */
async function walkAll(analysis: Analysis, connection: TableConnection): Promise<void> {
  const { rows } = await analysis.query('select distinct trace from events order by trace');
  if (rows.length === 0) return;
  const facts = await factsOf(analysis, DEFAULT_LIMITS);
  const stream = await analysis.stream(
    `select ${STATE_COLUMNS}, trace::double from events where ${rowsFor([...facts.values()])} order by trace, seq`,
  );
  const walks = new Map<number, { readonly walk: Walk; readonly sink: TableSink }>();
  try {
    const reader = new StateRows(stream.columns);
    for (let chunk = await stream.nextChunk(); chunk !== null; chunk = await stream.nextChunk()) {
      reader.take(chunk);
      const traces = chunk.columns.at(-1)?.values ?? [];
      for (let row = 0; row < chunk.rows; row++) {
        const trace = Number(traces[row]);
        let found = walks.get(trace);
        if (!found) {
          const sink = new TableSink(connection, trace);
          walks.set(trace, (found = { walk: new Walk(facts.get(trace) ?? NO_FACTS, sink), sink }));
        }
        found.walk.step(reader.load(row));
      }
    }
    for (const { walk } of walks.values()) walk.end();
  } finally {
    await stream.close();
    for (const { sink } of walks.values()) sink.close();
  }
}

/** A walk that is over, and what it told. */
export interface Walked<S> {
  readonly walk: Walk;
  readonly sink: S;
}

/**
 * Walks over one trace. Same errors.
 * @param begin makes the sink; is called again if the first walk was for nothing because rows were not in the order of seq
 */
export async function walkTrace<S extends StateSink>(
  analysis: Analysis,
  trace: number,
  begin: () => S | Promise<S>,
  limits: HazardLimits = DEFAULT_LIMITS,
): Promise<Walked<S>> {
  const facts = (await factsOf(analysis, limits, trace)).get(trace) ?? NO_FACTS;
  try {
    for (const sorted of [false, true]) {
      const sink = await begin();
      const walk = new Walk(facts, sink);
      if (await stepAll(analysis, trace, walk, sorted)) {
        walk.end();
        return { walk, sink };
      }
    }
    throw new Error('rows that were sorted by seq are not in its order');
  } catch (cause) {
    if (!(cause instanceof TooMuchStateError)) throw cause;
    throw new CvmtraceError('UNAVAILABLE', `what was live when cannot be computed: ${cause.message}`, { cause });
  }
}

/** False if a row came out of order. Sorting costs more than the walk, and what cvmtrace writes is in order. */
async function stepAll(analysis: Analysis, trace: number, walk: Walk, sorted: boolean): Promise<boolean> {
  const where = rowsFor([walk.facts]);
  const source = sorted
    ? `events where trace = ${trace} and ${where} order by seq`
    : `(${analysis.rowsInOrder(trace)}) where ${where}`;
  const stream = await analysis.stream(`select ${STATE_COLUMNS} from ${source}`);
  try {
    const rows = new StateRows(stream.columns);
    let last = -1;
    for (let chunk = await stream.nextChunk(); chunk !== null; chunk = await stream.nextChunk()) {
      rows.take(chunk);
      for (let i = 0; i < chunk.rows; i++) {
        const row = rows.load(i);
        if (row.seq < last || (row.seq === last && !sorted)) return false;
        last = row.seq;
        walk.step(row);
      }
    }
    return true;
  } finally {
    await stream.close();
  }
}

/** Beside the kernel's own events every call counts: it ends the one before it of its thread. */
function rowsFor(facts: readonly TraceFacts[]): string {
  return facts.some(({ ops }) => ops.has('iommu_unmap')) ? 'true' : STATE_WHERE;
}

const NO_FACTS: TraceFacts = { ops: new Set(), succeeded: new Set(), guestBytes: null, limits: DEFAULT_LIMITS };

/** By trace. */
async function factsOf(analysis: Analysis, limits: HazardLimits, trace?: number): Promise<Map<number, TraceFacts>> {
  const { rows } = await analysis.query(
    `select trace, op::varchar, bool_or(errno = 0) from events
     where ${trace === undefined ? '' : `trace = ${trace} and`} ${STATE_WHERE} group by trace, op`,
  );
  const facts = new Map<number, { readonly ops: Set<string>; readonly succeeded: Set<string> }>();
  for (const [of, op, ok] of rows) {
    let found = facts.get(Number(of));
    if (!found) facts.set(Number(of), (found = { ops: new Set(), succeeded: new Set() }));
    found.ops.add(textOf(op));
    if (ok === true) found.succeeded.add(textOf(op));
  }
  return new Map(
    [...facts].map(([of, found]) => [
      of,
      { ...found, guestBytes: analysis.traces[of]?.metadata.guest.memoryBytes ?? null, limits },
    ]),
  );
}
