/**
 * The rows of traces in groups that mean the same in each: a phase (by name, and which of the phases of that name), and in it an operation, or the
 * stall of conversions in one direction. Durations are counted per distinct value, so that quantiles and ranks are exact, and what is read into
 * memory does not grow with the trace.
 */
import { CvmtraceError } from '../../native/index.ts';
import type { Analysis, Value } from '../../analyze/index.ts';

export const GROUPINGS = ['op', 'phase,op', 'phase,op,size'] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** A group of one trace. Times in ns, null if none is known. */
export interface RunTimes {
  readonly count: number;
  readonly errors: number;
  /** Of them with a known duration. */
  readonly timed: number;
  readonly totalNs: number | null;
  readonly p50Ns: number | null;
  readonly p99Ns: number | null;
  readonly maxNs: number | null;
}

export interface Group {
  /** `length`: how long the phase, or the trace, lasted. */
  readonly kind: 'length' | 'conversions' | 'operations';
  /** Null: what was before the first mark, or the whole trace. */
  readonly phase: string | null;
  /** Of the phases of this name, from 1. */
  readonly occurrence: number;
  /** The operation; of conversions "to_private", "to_shared" or "unknown"; of a length "phase" or "trace". */
  readonly name: string;
  /** Size class as in `op_latency`; null where sizes are not told apart. */
  readonly size: string | null;
  /** By number of the trace; without those that have no row of it. */
  readonly runs: ReadonlyMap<number, RunTimes>;
  /** In the table `_compare_histogram`; null for a length, which is not in it. */
  readonly id: number | null;
}

/** Marks that a program makes in a loop are no phases; and each phase has a row per operation. */
const MAX_PHASES = 1000;

/** As in `op_latency`: marks and losses are no operations, and what a recording sums up has no durations of calls. */
const NO_OPERATIONS = `('mark', 'lost', 'kvm_run', 'exit_other', 'import_trouble')`;

/**
 * Reads the groups of the given traces, ordered by phase as they come, kind, and the most time first. Leaves `_compare_histogram` (id, trace, ns, n)
 * in the analysis' scratch database.
 * @throws CvmtraceError USAGE if there are too many phases to compare; and as `Analysis.query`.
 */
export async function readGroups(analysis: Analysis, traces: readonly number[], by: Grouping): Promise<Group[]> {
  await analysis.query(by === 'op' ? WHOLE_TRACES : PHASES);
  const lengths = await readLengths(analysis, traces, by);
  await analysis.query(
    `create or replace table _compare_times (trace uinteger, from_seq ubigint, kind varchar, name varchar, size varchar, ns ubigint, n ubigint, errors ubigint)`,
  );
  for (const trace of traces) await analysis.query(timesSql(trace, by === 'phase,op,size'));
  await analysis.query(HISTOGRAM);
  const groups = new Map<number, Omit<Group, 'runs'> & { runs: Map<number, RunTimes> }>();
  for (const row of (await analysis.query(SUMMARY)).rows) {
    const [id, phase, occurrence, kind, name, size, trace, count, errors, timed, total, p50, p99, max] = row;
    const key = number(id) ?? 0;
    const group = groups.get(key) ?? {
      kind: kind === 'conversions' ? 'conversions' : 'operations',
      phase: string(phase),
      occurrence: number(occurrence) ?? 1,
      name: string(name) ?? '',
      size: string(size),
      runs: new Map<number, RunTimes>(),
      id: key,
    };
    group.runs.set(number(trace) ?? 0, {
      count: number(count) ?? 0,
      errors: number(errors) ?? 0,
      timed: number(timed) ?? 0,
      totalNs: number(total),
      p50Ns: number(p50),
      p99Ns: number(p99),
      maxNs: number(max),
    });
    groups.set(key, group);
  }
  return inOrder([...lengths, ...groups.values()]);
}

/** How long each phase and each trace lasted, as a group of one row per trace. */
async function readLengths(analysis: Analysis, traces: readonly number[], by: Grouping): Promise<Group[]> {
  const inTraces = traces.join(', ');
  const most = await analysis.query(
    `select trace, count(*)::double from _compare_spans where trace in (${inTraces}) group by trace order by 2 desc, 1 limit 1`,
  );
  const [trace, phases] = most.rows[0] ?? [];
  if ((number(phases) ?? 0) > MAX_PHASES) {
    throw new CvmtraceError('USAGE', `${number(phases)} marks are too many for phases to compare`, {
      path: analysis.traces[number(trace) ?? 0]?.path ?? '',
      hint: 'compare whole traces: --by op',
    });
  }
  const { rows } = await analysis.query(
    `select trace, 'trace', null, 1::double, (end_ns::bigint - start_ns::bigint)::double, -1 as place from _trace_ends where trace in (${inTraces})
     union all
     select trace, 'phase', name, occurrence::double, dur_ns::double, from_seq::bigint from _compare_spans where trace in (${inTraces}) and ${by !== 'op'}
     order by trace, place`,
  );
  const lengths = new Map<string, Omit<Group, 'runs'> & { runs: Map<number, RunTimes> }>();
  for (const [trace, name, phase, occurrence, dur] of rows) {
    const ns = number(dur);
    const isBefore = name === 'phase' && phase === null;
    // Nothing before the first mark is no phase; times that go back are no length.
    if (isBefore && !((ns ?? 1) > 0)) continue;
    const key = JSON.stringify([name, phase, occurrence]);
    const group = lengths.get(key) ?? {
      kind: 'length',
      phase: string(phase),
      occurrence: number(occurrence) ?? 1,
      name: string(name) ?? '',
      size: null,
      runs: new Map<number, RunTimes>(),
      id: null,
    };
    const known = ns !== null && ns >= 0 ? ns : null;
    group.runs.set(number(trace) ?? 0, {
      count: 1,
      errors: 0,
      timed: known === null ? 0 : 1,
      totalNs: known,
      p50Ns: known,
      p99Ns: known,
      maxNs: known,
    });
    lengths.set(key, group);
  }
  return [...lengths.values()];
}

const KINDS = ['length', 'conversions', 'operations'] as const;

/** Phases in the order in which they are first met, what took most time first. */
function inOrder(groups: readonly Group[]): Group[] {
  const phaseKey = ({ phase, occurrence }: Group): string => JSON.stringify([phase, occurrence]);
  const order = new Map<string, number>();
  for (const group of groups) if (!order.has(phaseKey(group))) order.set(phaseKey(group), order.size);
  const time = ({ runs }: Group): number => Math.max(-1, ...[...runs.values()].map(({ totalNs }) => totalNs ?? -1));
  const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return [...groups].sort(
    (a, b) =>
      KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) ||
      (order.get(phaseKey(a)) ?? 0) - (order.get(phaseKey(b)) ?? 0) ||
      // The whole trace is before its phases.
      Number(b.name === 'trace') - Number(a.name === 'trace') ||
      time(b) - time(a) ||
      compareText(a.name, b.name) ||
      compareText(a.size ?? '', b.size ?? ''),
  );
}

/** One span per trace. */
const WHOLE_TRACES = `
create or replace table _compare_spans as
select trace, 0::ubigint as from_seq, null::varchar as name, 1 as occurrence, null::bigint as dur_ns from _trace_ends`;

/** A span per phase; the first begins with the trace, whatever is before its first mark. */
const PHASES = `
create or replace table _compare_spans as
with first_marks as (select trace, min(from_seq) as seq, first(start_ns order by from_seq) as ns from phases group by trace),
spans as (
  select trace, from_seq, coalesce(name, '') as name, dur_ns from phases
  union all
  select e.trace, 0, null, coalesce(m.ns, e.end_ns)::bigint - e.start_ns::bigint
  from _trace_ends e
  left join first_marks m on m.trace = e.trace
  where m.seq is null or m.seq > 0
)
select trace, from_seq, name, row_number() over (partition by trace, name order by from_seq) as occurrence, dur_ns from spans`;

function timesSql(trace: number, bySize: boolean): string {
  const size = bySize ? 'size_class(len)' : 'null::varchar';
  const spans = `(from _compare_spans where trace = ${trace})`;
  return `
    insert into _compare_times
    select ${trace}, from_seq, 'operations', op::varchar, size, ns, n, errors
    from (
      select s.from_seq, e.op, e.size, e.ns, count(*) as n, count(*) filter (where e.failed) as errors
      from (
        select seq, op, ${size} as size, _known_ns(dur_ns) as ns, errno <> 0 as failed
        from events where trace = ${trace} and op not in ${NO_OPERATIONS}
      ) e
      asof join ${spans} s on e.seq >= s.from_seq
      group by all
    );
    insert into _compare_times
    select ${trace}, s.from_seq, 'conversions', c.direction, c.size, c.ns, count(*), count(*) filter (where c.failed)
    from (
      select seq, coalesce(direction, 'unknown') as direction, ${size} as size, stall_ns as ns, outcome = 'failed' as failed
      from _conversions where trace = ${trace} and trigger <> 'vmm'
    ) c
    asof join ${spans} s on c.seq >= s.from_seq
    group by all`;
}

/** Gives the same group of all traces one number. */
const HISTOGRAM = `
create or replace table _compare_groups as
select row_number() over (order by kind, phase nulls first, occurrence, name, size) as id, *
from (
  select distinct s.name as phase, s.occurrence, t.kind, t.name, t.size
  from (select distinct trace, from_seq, kind, name, size from _compare_times) t
  join _compare_spans s on s.trace = t.trace and s.from_seq = t.from_seq
);
create or replace table _compare_histogram as
select g.id, t.trace, t.ns, t.n, t.errors
from _compare_times t
join _compare_spans s on s.trace = t.trace and s.from_seq = t.from_seq
join _compare_groups g
  on g.kind = t.kind and g.name = t.name and g.occurrence = s.occurrence and g.phase is not distinct from s.name and g.size is not distinct from t.size;
drop table _compare_times`;

/** Quantiles are exact, by nearest rank, as those of `op_latency`. */
const SUMMARY = `
with ranked as (
  select
    *,
    sum(n) over (partition by id, trace, ns is null order by ns) as upto,
    sum(n) over (partition by id, trace, ns is null) as timed
  from _compare_histogram
),
summed as (
  select
    id, trace, sum(n)::double as count, sum(errors)::double as errors, coalesce(sum(n) filter (where ns is not null), 0)::double as timed,
    sum(ns::uhugeint * n::uhugeint)::double as total, (min(ns) filter (where upto * 2 >= timed))::double as p50,
    (min(ns) filter (where upto * 100 >= timed * 99))::double as p99, max(ns)::double as max
  from ranked
  group by id, trace
)
select g.id::double, g.phase, g.occurrence::double, g.kind, g.name, g.size, r.trace::double, r.count, r.errors, r.timed, r.total, r.p50, r.p99, r.max
from summed r
join _compare_groups g on g.id = r.id
join _compare_spans s on s.trace = r.trace and s.occurrence = g.occurrence and s.name is not distinct from g.phase
order by r.trace, s.from_seq, g.id`;

function number(value: Value | undefined): number | null {
  return typeof value === 'number' ? value : typeof value === 'bigint' ? Number(value) : null;
}

function string(value: Value | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
