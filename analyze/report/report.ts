/**
 * The findings about one trace as plain values: what a person asks first. 64-bit numbers are bigint; doubles hold what is below 2^53 by nature.
 * Printing it is the command line's.
 */
import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import type { Analysis, OpenTrace } from '../db/analysis.ts';
import type { Value } from '../db/chunk.ts';
import { guestsOf, type GuestReport } from './guests.ts';
import { stateReport, type HazardReport, type MemoryReport } from './state-report.ts';
import { DEFAULT_LIMITS, type HazardLimits } from '../state/facts.ts';

export type { FlipRange } from './flips.ts';
export type { MemoryPoint, MemoryTotals } from './memory-series.ts';
export type { HazardReport, MemoryReport } from './state-report.ts';
export type { Hazard, HazardKind, Severity } from '../state/sink.ts';
export { HAZARD_KINDS } from '../state/sink.ts';
export { DEFAULT_LIMITS, type HazardLimits } from '../state/facts.ts';
export type { GuestReport } from './guests.ts';

/** What the trace is and how far its numbers carry. */
export interface ReportHeader {
  readonly path: string;
  readonly kind: OpenTrace['kind'];
  readonly complete: boolean;
  readonly rows: number;
  /**
   * Words that belong beside every number of it: 'stand-in' (the private side is no guest_memfd), 'emulated' (times of an emulator), 'generated'
   * (nothing was executed).
   */
  readonly words: readonly ('stand-in' | 'emulated' | 'generated')[];
  readonly metadata: Pick<TraceMetadata, 'source' | 'tool' | 'command' | 'host' | 'guest' | 'leftOut'> &
    Partial<Pick<TraceMetadata, 'workload' | 'strategy' | 'backend' | 'replay' | 'pacing'>>;
}

/** A phase and the conversions that guests asked for in it. Times in ns, null if unknown. */
export interface PhaseReport {
  /** null for what was before the first mark; of a trace without marks that is all. */
  readonly name: string | null;
  readonly startNs: bigint | null;
  readonly durNs: bigint | null;
  readonly conversions: bigint;
  readonly toPrivateBytes: bigint;
  readonly toSharedBytes: bigint;
  readonly failed: bigint;
  readonly stallNs: bigint | null;
  readonly attributeNs: bigint;
  readonly discardNs: bigint;
  readonly allocateNs: bigint;
  readonly dmaNs: bigint;
}

/** A vCPU over the whole trace. */
export interface VcpuReport {
  readonly vcpu: number | null;
  readonly conversions: bigint;
  readonly stallNs: bigint | null;
  /** Of the trace's length; null if that is unknown. */
  readonly stallShare: number | null;
}

/** Exits to user space of one reason, of all vCPUs; from `vcpu_exits`. */
export interface ExitReport {
  readonly name: string;
  readonly exits: bigint;
  /** ns until the vCPUs ran again; null if unknown. */
  readonly handledNs: bigint | null;
  /** ns inside KVM_RUN, only of the reason 'all'; null if unknown. */
  readonly guestNs: bigint | null;
}

/** A row of `op_latency`. */
export interface LatencyReport {
  readonly op: string;
  readonly sizeClass: string;
  readonly count: bigint;
  readonly errors: bigint;
  readonly totalNs: bigint | null;
  readonly p50Ns: bigint | null;
  readonly p99Ns: bigint | null;
  readonly maxNs: bigint | null;
}

/** All conversions of one range. */
export interface RangeReport {
  readonly gpa: bigint;
  readonly len: bigint;
  readonly conversions: bigint;
  readonly failed: bigint;
  readonly stallNs: bigint;
  readonly maxStallNs: bigint;
}

/** The row of `loss`. */
export interface LossReport {
  readonly lostRows: bigint;
  readonly lostEvents: bigint;
  readonly seqMissing: bigint;
  readonly ended: boolean;
  readonly exitStatus: bigint | null;
}

export interface Report {
  readonly header: ReportHeader;
  /** VMs as the rows show them, where the metadata cannot: of recordings and imported logs. */
  readonly guests: readonly GuestReport[];
  readonly phases: readonly PhaseReport[];
  readonly vcpus: readonly VcpuReport[];
  /** Empty for a trace that has only the exits that ask for conversions. */
  readonly exits: readonly ExitReport[];
  readonly latency: readonly LatencyReport[];
  /** What is wrong or dangerous; null if it was left out, as `notes` says. */
  readonly hazards: readonly HazardReport[] | null;
  /** Null if it was left out; `notes` says why. */
  readonly memory: MemoryReport | null;
  /** The ten ranges with the most stall, most first. */
  readonly expensive: readonly RangeReport[];
  readonly loss: LossReport | null;
  /** What this report leaves out and why, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * The report on one of the analysis' traces. Conversions are computed once and kept in the analysis' scratch database.
 * @throws CvmtraceError as `Analysis.query`.
 */
export async function analyzeTrace(
  analysis: Analysis,
  trace = 0,
  limits: HazardLimits = DEFAULT_LIMITS,
): Promise<Report> {
  const open = analysis.traces[trace];
  if (!open) throw new RangeError(`no trace ${trace} in an analysis of ${analysis.traces.length}`);
  // First, because the tables that are kept for later come out of the same walk.
  const state = await stateReport(analysis, trace, limits);
  await analysis.keepExpensive();
  const select = async (sql: string): Promise<Row[]> => (await analysis.query(sql)).rows.map((row) => new Row(row));
  const notes: string[] = [];
  if ('leftOut' in state) notes.push(`memory over time, flips and hazards are left out: ${state.leftOut}`);
  const watched = open.metadata.source === 'record' || open.metadata.source === 'import';
  const guests = watched ? await guestsOf(analysis, trace) : [];
  const phases = await select(phasesSql(trace, watched));
  const vcpus = await select(
    `select vcpu, conversions, stall_ns, stall_share from boot where trace = ${trace} and phase is null order by vcpu`,
  );
  const latency = await select(
    `select op::varchar, size_class, count, errors, total_ns, p50_ns, p99_ns, max_ns from op_latency where trace = ${trace}
     order by total_ns desc nulls last, op::varchar, size_limit nulls last`,
  );
  const exits = await select(
    `select name, try_cast(sum(exits) as ubigint) as exits, try_cast(sum(handled_ns) as ubigint), try_cast(sum(guest_ns) as ubigint) from vcpu_exits
     where trace = ${trace} and exists (select 1 from events where trace = ${trace} and op in ('kvm_run', 'exit_other'))
     group by name order by name = 'all' desc, exits desc, name`,
  );
  const expensive = await select(
    `select gpa, len, count(*), count(*) filter (where outcome = 'failed'), try_cast(sum(stall_ns) as bigint) as stall, max(stall_ns)
     from _conversions where trace = ${trace} and gpa is not null and len is not null
     group by gpa, len having stall > 0 order by stall desc, gpa, len limit 10`,
  );
  const loss = await select(
    `select lost_rows, lost_events, seq_missing, ended, exit_status from loss where trace = ${trace}`,
  );
  return {
    header: headerOf(open),
    guests,
    phases: phases.map((row) => ({
      name: row.text(0),
      startNs: row.bigint(1),
      durNs: row.bigint(2),
      conversions: row.count(3),
      toPrivateBytes: row.count(4),
      toSharedBytes: row.count(5),
      failed: row.count(6),
      stallNs: row.bigint(7),
      attributeNs: row.count(8),
      discardNs: row.count(9),
      allocateNs: row.count(10),
      dmaNs: row.count(11),
    })),
    vcpus: vcpus.map((row) => ({
      vcpu: row.number(0),
      conversions: row.count(1),
      stallNs: row.bigint(2),
      stallShare: row.number(3),
    })),
    exits: exits.map((row) => ({
      name: row.text(0) ?? '',
      exits: row.count(1),
      handledNs: row.bigint(2),
      guestNs: row.bigint(3),
    })),
    latency: latency.map((row) => ({
      op: row.text(0) ?? '',
      sizeClass: row.text(1) ?? '',
      count: row.count(2),
      errors: row.count(3),
      totalNs: row.bigint(4),
      p50Ns: row.bigint(5),
      p99Ns: row.bigint(6),
      maxNs: row.bigint(7),
    })),
    hazards: 'leftOut' in state ? null : state.hazards,
    memory: 'leftOut' in state ? null : state.memory,
    expensive: expensive.map((row) => ({
      gpa: row.count(0),
      len: row.count(1),
      conversions: row.count(2),
      failed: row.count(3),
      stallNs: row.count(4),
      maxStallNs: row.count(5),
    })),
    loss: loss[0]
      ? {
          lostRows: loss[0].count(0),
          lostEvents: loss[0].count(1),
          seqMissing: loss[0].count(2),
          ended: loss[0].flag(3),
          exitStatus: loss[0].bigint(4),
        }
      : null,
    notes,
  };
}

/** The words that belong beside every number of a trace with this metadata. */
export function qualifiers({ source, host, backend }: TraceMetadata): ReportHeader['words'] {
  const words: ReportHeader['words'][number][] = [];
  if (backend?.standIn === true) words.push('stand-in');
  if (host?.emulated === true) words.push('emulated');
  if (source === 'generated') words.push('generated');
  return words;
}

function headerOf({ path, kind, complete, rows, metadata }: OpenTrace): ReportHeader {
  const { source, tool, command, host, guest, leftOut, workload, strategy, backend, replay, pacing } = metadata;
  return {
    path,
    kind,
    complete,
    rows,
    words: qualifiers(metadata),
    metadata: {
      source,
      tool,
      command,
      host,
      guest,
      leftOut,
      ...(workload && { workload }),
      ...(strategy && { strategy }),
      ...(backend && { backend }),
      ...(replay && { replay }),
      ...(pacing && { pacing }),
    },
  };
}

/** @param watched whether what was before the first mark is a part of it also without conversions: of others it is the making of the VM */
function phasesSql(trace: number, watched: boolean): string {
  return `
    with marked as (select phase::bigint as phase, name, from_seq, past_seq, start_ns, dur_ns from phases where trace = ${trace}),
    first_mark as (select min(from_seq) as seq, min(start_ns) as ns from marked),
    before as (
      select -1::bigint, null::varchar, 0::ubigint, coalesce(m.seq, e.past_seq), e.start_ns, (coalesce(m.ns, e.end_ns) - e.start_ns)::bigint
      from first_mark m, (from _trace_ends where trace = ${trace}) e
      where coalesce(m.seq, e.past_seq) > 0
    ),
    spans as (from marked union all from before),
    inside as (
      select p.phase, c.*
      from (from _conversions where trace = ${trace} and trigger <> 'vmm') c
      asof join spans p on c.seq >= p.from_seq
      where c.seq < p.past_seq
    ),
    sums as (
      select
        phase, count(*) as conversions,
        try_cast(coalesce(sum(len) filter (where direction = 'to_private' and outcome = 'ok'), 0) as ubigint) as to_private,
        try_cast(coalesce(sum(len) filter (where direction = 'to_shared' and outcome = 'ok'), 0) as ubigint) as to_shared,
        count(*) filter (where outcome = 'failed') as failed, try_cast(sum(stall_ns) as bigint) as stall_ns, try_cast(sum(attribute_ns) as bigint) as attribute_ns,
        try_cast(sum(discard_ns) as bigint) as discard_ns, try_cast(sum(allocate_ns) as bigint) as allocate_ns, try_cast(sum(dma_ns) as bigint) as dma_ns
      from inside
      group by phase
    )
    select
      p.name, p.start_ns, p.dur_ns, s.conversions, s.to_private, s.to_shared, s.failed, s.stall_ns, s.attribute_ns, s.discard_ns,
      s.allocate_ns, s.dma_ns
    from spans p
    left join sums s on s.phase = p.phase
    where p.phase >= 0 or s.conversions > 0 or ${watched}
    order by p.phase`;
}

/** A row of a result whose types the query fixes. */
class Row {
  readonly #values: readonly Value[];

  constructor(values: readonly Value[]) {
    this.#values = values;
  }

  bigint(column: number): bigint | null {
    const value = this.#values[column];
    return typeof value === 'bigint' || typeof value === 'number' ? BigInt(value) : null;
  }

  /** 0 if it is null. */
  count(column: number): bigint {
    return this.bigint(column) ?? 0n;
  }

  number(column: number): number | null {
    const value = this.#values[column];
    return typeof value === 'number' ? value : null;
  }

  text(column: number): string | null {
    const value = this.#values[column];
    return typeof value === 'string' ? value : null;
  }

  flag(column: number): boolean {
    return this.#values[column] === true;
  }
}
