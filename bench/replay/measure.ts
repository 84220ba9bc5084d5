/** Reads the numbers of a strategy back from the traces of its runs, with the same views as any other trace. */
import { openAnalysis } from '../../analyze/db/open-analysis.ts';
import type { VcpuStall } from './recorded.ts';

/** Times of one run, ns. */
export interface RunTimes {
  readonly stallNs: number;
  readonly stallP50Ns: number;
  readonly stallP99Ns: number;
  readonly stallMaxNs: number;
  /** Time in faults of touched memory, outside conversions. */
  readonly faultNs: number;
  readonly vcpus: readonly VcpuStall[];
}

export interface OperationCount {
  readonly op: string;
  /** Per run; the mean if the runs differ. */
  readonly perRun: number;
  readonly failuresPerRun: number;
  readonly totalNsPerRun: number;
}

export interface FailureCount {
  readonly op: string;
  readonly errno: number;
  /** In all runs together. */
  readonly count: number;
}

/** How well a paced run kept to its times. */
export interface Lag {
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly maxNs: number;
}

export interface Measured {
  /** In the order of the traces. */
  readonly runs: readonly RunTimes[];
  readonly operations: readonly OperationCount[];
  readonly failures: readonly FailureCount[];
  /** null for runs as fast as possible. */
  readonly lag: Lag | null;
}

const EXITS = `op in ('exit_map_gpa_range', 'exit_memory_fault')`;
const TOUCHES = `op in ('gmem_touch', 'ram_touch', 'guest_touch')`;
/** @param traces of one strategy, one per round */
export async function measureRuns(traces: readonly string[]): Promise<Measured> {
  await using analysis = await openAnalysis(traces, {});
  const numbers = async (sql: string): Promise<number[][]> =>
    (await analysis.query(sql)).rows.map((row) => row.map((value) => Number(value ?? 0)));
  const times = await numbers(`
    select
      trace::integer,
      coalesce(sum(dur_ns) filter (where ${EXITS}), 0)::double,
      quantile_disc(dur_ns, 0.5) filter (where ${EXITS}),
      quantile_disc(dur_ns, 0.99) filter (where ${EXITS}),
      max(dur_ns) filter (where ${EXITS}),
      coalesce(sum(dur_ns) filter (where ${TOUCHES}), 0)::double
    from events group by trace order by trace`);
  const vcpus = await numbers(`
    select
      trace::integer, coalesce(vcpu, 0)::integer,
      coalesce(sum(dur_ns) filter (where ${EXITS}), 0)::double,
      coalesce(sum(dur_ns) filter (where ${TOUCHES}), 0)::double
    from events where ${EXITS} or ${TOUCHES} group by 1, 2 order by 1, 2`);
  const operations = await analysis.query(`
    select op::varchar, count(*) / ${traces.length}, count(*) filter (where errno <> 0) / ${traces.length},
      coalesce(sum(dur_ns), 0)::double / ${traces.length}
    from events where op <> 'mark' group by op order by min(seq), 1`);
  const failures = await analysis.query(`
    select op::varchar, errno::integer, count(*) from events where errno <> 0 group by all order by all`);
  const [lag] = await numbers(`
    select quantile_disc(lag_ns, 0.5), quantile_disc(lag_ns, 0.99), max(lag_ns), count(lag_ns) from events`);
  return {
    runs: times.map(([trace, stallNs = 0, p50 = 0, p99 = 0, max = 0, faultNs = 0]) => ({
      stallNs,
      stallP50Ns: p50,
      stallP99Ns: p99,
      stallMaxNs: max,
      faultNs,
      vcpus: vcpus
        .filter(([of]) => of === trace)
        .map(([, vcpu = 0, ofStallNs = 0, ofFaultNs = 0]) => ({ vcpu, stallNs: ofStallNs, faultNs: ofFaultNs })),
    })),
    operations: operations.rows.map(([op, perRun, failuresPerRun, totalNs]) => ({
      op: typeof op === 'string' ? op : '',
      perRun: Number(perRun),
      failuresPerRun: Number(failuresPerRun),
      totalNsPerRun: Number(totalNs),
    })),
    failures: failures.rows.map(([op, errno, count]) => ({
      op: typeof op === 'string' ? op : '',
      errno: Number(errno),
      count: Number(count),
    })),
    lag: lag?.[3] ? { p50Ns: lag[0] ?? 0, p99Ns: lag[1] ?? 0, maxNs: lag[2] ?? 0 } : null,
  };
}
