/** Fills the state tables of an analysis by walking over each of its traces. */
import type { Connection } from '@duckdb/node-bindings';
import { CvmtraceError } from '../../native/index.ts';
import type { Analysis } from '../db/analysis.ts';
import { textOf } from '../db/chunk.ts';
import { duckdb } from '../db/duckdb.ts';
import { StateRows, STATE_COLUMNS, STATE_WHERE } from './state-row.ts';
import { TableSink } from './table-sink.ts';
import { STATE_TABLES } from './tables.ts';
import { TooMuchStateError, Walk, DEFAULT_LIMITS, type HazardLimits, type TraceFacts } from './walk.ts';
import type { StateSink } from './sink.ts';

/** @throws CvmtraceError as `Analysis.query`; UNAVAILABLE if more is live at a time than fits in memory. */
export async function fillStateTables(analysis: Analysis, connection: Connection): Promise<void> {
  for (const table of Object.keys(STATE_TABLES)) await duckdb().query(connection, `delete from ${table}`);
  for (const trace of await traceNumbers(analysis)) {
    const sink = new TableSink(connection, trace);
    try {
      await walkTrace(analysis, trace, sink);
    } finally {
      sink.close();
    }
  }
}

/** Walks over one trace. Same errors. */
export async function walkTrace(
  analysis: Analysis,
  trace: number,
  sink: StateSink,
  limits: HazardLimits = DEFAULT_LIMITS,
): Promise<void> {
  const walk = new Walk(await factsOf(analysis, trace, limits), sink);
  try {
    await stepAll(analysis, trace, walk);
    walk.end();
  } catch (cause) {
    if (!(cause instanceof TooMuchStateError)) throw cause;
    throw new CvmtraceError('UNAVAILABLE', `what was live when cannot be computed: ${cause.message}`, { cause });
  }
}

async function stepAll(analysis: Analysis, trace: number, walk: Walk): Promise<void> {
  const stream = await analysis.stream(
    `select ${STATE_COLUMNS} from events where trace = ${trace} and ${STATE_WHERE} order by seq`,
  );
  try {
    const rows = new StateRows(stream.columns);
    for (let chunk = await stream.nextChunk(); chunk !== null; chunk = await stream.nextChunk()) {
      rows.take(chunk);
      for (let row = 0; row < chunk.rows; row++) walk.step(rows.load(row));
    }
  } finally {
    await stream.close();
  }
}

/** Tests set rows without a trace. */
async function traceNumbers(analysis: Analysis): Promise<number[]> {
  if (analysis.traces.length > 0) return [...analysis.traces.keys()];
  const { rows } = await analysis.query('select distinct trace from events order by trace');
  return rows.map(([trace]) => Number(trace));
}

async function factsOf(analysis: Analysis, trace: number, limits: HazardLimits): Promise<TraceFacts> {
  const { rows } = await analysis.query(
    `select op::varchar, bool_or(errno = 0) from events where trace = ${trace} and ${STATE_WHERE} group by op`,
  );
  const guest = analysis.traces[trace]?.metadata.guest;
  return {
    ops: new Set(rows.map(([op]) => textOf(op))),
    succeeded: new Set(rows.flatMap(([op, ok]) => (ok === true ? textOf(op) : []))),
    guestBytes: guest?.memoryBytes ?? null,
    limits,
  };
}
