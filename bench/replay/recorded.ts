/** What a replay takes from a trace: its requests, its guest's memory, and the times that estimates start from. */
import type { Analysis } from '../../analyze/db/analysis.ts';
import { PAGE_BYTES, type GuestRequest, type Side } from '../../capture/request.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import { CvmtraceError } from '../../native/index.ts';
import { RangeMap } from '../range-map.ts';
import { RequestLog } from './request-log.ts';

/** KVM_MEM_GUEST_MEMFD of linux/kvm.h. */
const KVM_MEM_GUEST_MEMFD = 4;
/** Guest-physical addresses have at most 52 bits; what is above cannot be a guest's memory. */
const MAX_GPA = 2 ** 52;
const HUGE_BYTES = 2 ** 21;

/** ns that one vCPU stood still in the recording. */
export interface VcpuStall {
  readonly vcpu: number;
  /** Inside conversions. */
  readonly stallNs: number;
  /** In faults of its own accesses to memory; 0 where the trace has none. */
  readonly faultNs: number;
}

export interface RecordedTimes {
  /** From the first row to the end of the last, ns. */
  readonly wallNs: number;
  readonly vcpus: readonly VcpuStall[];
}

export interface Recorded extends Disposable {
  readonly requests: RequestLog;
  readonly slots: readonly SlotRange[];
  /** Where the slots come from: the trace says so, or they are the 2M blocks that its requests touch. */
  readonly slotsFrom: 'metadata' | 'slot rows' | 'requests';
  /** Which side each address is on at the end of the recording: conversions that succeeded, in order. */
  readonly finalState: RangeMap<Side>;
  /** null if the trace does not have a time for every request. */
  readonly times: RecordedTimes | null;
  /** Requests that cannot be replayed, by reason. */
  readonly skipped: Readonly<Record<string, number>>;
}

/** Every row that is a request, in order. `kind` 0 to 4 in the order of RequestLog's kinds. */
const REQUESTS = `
with private_objects as (
  select obj from events where op = 'ram_create' and detail = 'private' or op = 'kvm_create_guest_memfd'
),
guest_asks as (select count(*) > 0 as any_exit from events where op in ('exit_map_gpa_range', 'exit_memory_fault'))
select
  ts_ns::double as ts_ns, vcpu, kind, gpa::double as gpa, len::double as len, to_private, outcome, is_write, name
from (
  select
    seq, ts_ns, vcpu,
    -- A log without exits has only the VMM's calls, and each stands for the request that caused it.
    case when trigger = 'vmm' and not any_exit then 'exit_map_gpa_range' else trigger end as kind,
    gpa, len, direction = 'to_private' as to_private, outcome, false as is_write, null as name
  from _conversions, guest_asks
  where direction is not null
  union all
  select
    seq, ts_ns, vcpu, 'touch', gpa, len, op = 'gmem_touch' or obj in (select obj from private_objects), if(errno = 0, 'ok', 'failed'), flags = 1, null
  from events
  where op in ('gmem_touch', 'ram_touch', 'guest_touch')
  union all
  select seq, ts_ns, vcpu, 'mark', null, null, false, 'ok', false, detail
  from events
  where op = 'mark' and detail <> 'trace_end'
)
order by seq`;

/**
 * Reads the requests of the analysis's only trace. The caller disposes of the result.
 * @param folder where the log of requests is kept
 * @param attributes whether the replay can set attributes: without them nothing is left of what the VMM did by itself
 * @throws CvmtraceError BAD_INPUT if the trace has no request that can be replayed.
 */
export async function readRecorded(analysis: Analysis, folder: string, attributes: boolean): Promise<Recorded> {
  const requests = new RequestLog(folder);
  try {
    const finalState = new RangeMap<Side>();
    const blocks = new RangeMap<true>();
    const skipped: Record<string, number> = {};
    let conversions = 0;
    let firstNs: number | undefined;
    let timed = true;
    for await (const row of requestRows(analysis)) {
      const problem = row.kind === 'vmm' && !attributes ? "the VMM's own attribute call" : requestProblem(row);
      if (problem !== undefined) {
        skipped[problem] = (skipped[problem] ?? 0) + 1;
        continue;
      }
      if (row.tsNs === null) timed = false;
      firstNs ??= row.tsNs ?? undefined;
      const request = toRequest(row, (row.tsNs ?? 0) - (firstNs ?? 0));
      requests.append(request);
      if (request.kind === 'mark') continue;
      blocks.assign(
        floorTo(request.gpa, HUGE_BYTES),
        floorTo(request.gpa + request.len + HUGE_BYTES - 1, HUGE_BYTES),
        true,
      );
      if (request.kind !== 'convert') continue;
      conversions++;
      if (row.outcome === 'ok') finalState.assign(request.gpa, request.gpa + request.len, request.to);
    }
    if (conversions === 0) {
      throw new CvmtraceError('BAD_INPUT', 'the trace has no conversion that can be replayed', {
        hint: 'cvmtrace info lists what it has',
      });
    }
    const slots = await recordedSlots(analysis, blocks);
    return {
      requests,
      ...slots,
      finalState,
      times: timed ? await recordedTimes(analysis) : null,
      skipped,
      [Symbol.dispose]: () => requests[Symbol.dispose](),
    };
  } catch (error) {
    requests[Symbol.dispose]();
    throw error;
  }
}

interface RequestRow {
  readonly tsNs: number | null;
  readonly vcpu: number;
  readonly kind: 'exit_map_gpa_range' | 'exit_memory_fault' | 'vmm' | 'touch' | 'mark';
  readonly gpa: number;
  readonly len: number;
  readonly toPrivate: boolean;
  /** As of the view `conversions`. */
  readonly outcome: 'ok' | 'failed' | 'ignored';
  readonly write: boolean;
  readonly name: string;
}

async function* requestRows(analysis: Analysis): AsyncGenerator<RequestRow> {
  for await (const { rows, columns } of await analysis.stream(REQUESTS)) {
    const at = (column: number, row: number): unknown => {
      const { values, validity } = columns[column] ?? { values: [], validity: null };
      const valid = validity === null || ((validity[row >> 3] ?? 0) >> (row & 7)) & 1;
      return valid ? values[row] : null;
    };
    for (let row = 0; row < rows; row++) {
      const tsNs = at(0, row);
      const name = at(8, row);
      yield {
        tsNs: tsNs === null ? null : Number(tsNs),
        vcpu: Number(at(1, row) ?? 0),
        kind: at(2, row) as RequestRow['kind'],
        gpa: Number(at(3, row) ?? NaN),
        len: Number(at(4, row) ?? NaN),
        toPrivate: Boolean(at(5, row)),
        outcome: at(6, row) as RequestRow['outcome'],
        write: Boolean(at(7, row)),
        name: typeof name === 'string' ? name : '',
      };
    }
  }
}

function toRequest(row: RequestRow, paceNs: number): GuestRequest {
  const { kind, vcpu, gpa, len, toPrivate, write, name } = row;
  const side: Side = toPrivate ? 'private' : 'shared';
  if (kind === 'mark') return { kind, name, paceNs, vcpu };
  if (kind === 'touch') return { kind, gpa, len, side, write, paceNs, vcpu };
  return { kind: 'convert', trigger: kind, gpa, len, to: side, paceNs, vcpu };
}

/** Why a request cannot be replayed; undefined if it can. */
function requestProblem({ kind, gpa, len, outcome }: RequestRow): string | undefined {
  if (kind === 'mark') return undefined;
  if (outcome === 'ignored') return 'converted nothing';
  if (Number.isNaN(gpa) || Number.isNaN(len)) return 'range unknown';
  if (gpa % PAGE_BYTES !== 0 || len % PAGE_BYTES !== 0 || len === 0) return 'not whole pages';
  return gpa + len > MAX_GPA ? 'beyond 52 bits of address' : undefined;
}

async function recordedSlots(
  analysis: Analysis,
  blocks: RangeMap<true>,
): Promise<Pick<Recorded, 'slots' | 'slotsFrom'>> {
  const described = analysis.traces[0]?.metadata.guest.slots ?? [];
  if (described.length > 0) return { slots: described, slotsFrom: 'metadata' };
  const { rows } = await analysis.query(`
    select distinct gpa::double, len::double from events
    where op = 'kvm_set_user_memory_region2' and errno = 0 and len > 0 and flags & ${KVM_MEM_GUEST_MEMFD} <> 0
    order by gpa`);
  const inRows = rows.map(([gpa, len]) => ({ start: Number(gpa), end: Number(gpa) + Number(len) }));
  if (inRows.length > 0) return { slots: packed(inRows), slotsFrom: 'slot rows' };
  return { slots: packed(mergedBlocks(blocks)), slotsFrom: 'requests' };
}

/** Slots one after another in their file, without the holes between them; what overlaps an earlier one is cut off. */
function packed(ranges: readonly { readonly start: number; readonly end: number }[]): SlotRange[] {
  const slots: SlotRange[] = [];
  let offset = 0;
  let past = 0;
  for (const range of ranges) {
    const gpa = Math.max(past, range.start);
    if (gpa >= range.end) continue;
    slots.push({ gpa, len: range.end - gpa, offset });
    offset += range.end - gpa;
    past = range.end;
  }
  return slots;
}

function mergedBlocks(blocks: RangeMap<true>): { start: number; end: number }[] {
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of blocks) {
    const last = merged.at(-1);
    if (last?.end === start) last.end = end;
    else merged.push({ start, end });
  }
  return merged;
}

async function recordedTimes(analysis: Analysis): Promise<RecordedTimes | null> {
  const wall = await analysis.query(`
    select (max(ts_ns + coalesce(dur_ns, 0)) - min(ts_ns))::double,
           count(*) filter (where dur_ns is null and op in ('exit_map_gpa_range', 'exit_memory_fault')),
           count(*) filter (where op in ('exit_map_gpa_range', 'exit_memory_fault'))
    from events where detail is distinct from 'trace_end'`);
  const [wallNs, untimed, exits] = wall.rows[0] ?? [];
  // Without exits nobody knows how long a vCPU stood still.
  if (typeof wallNs !== 'number' || Number(untimed) > 0 || Number(exits) === 0) return null;
  const stalls = await analysis.query(`
    select coalesce(vcpu, 0)::integer,
           coalesce(sum(dur_ns) filter (where op in ('exit_map_gpa_range', 'exit_memory_fault')), 0)::double,
           coalesce(sum(dur_ns) filter (where op in ('gmem_touch', 'ram_touch', 'guest_touch')), 0)::double
    from events
    where op in ('exit_map_gpa_range', 'exit_memory_fault', 'gmem_touch', 'ram_touch', 'guest_touch')
    group by 1 order by 1`);
  return {
    wallNs,
    vcpus: stalls.rows.map(([vcpu, stallNs, faultNs]) => ({
      vcpu: Number(vcpu),
      stallNs: Number(stallNs),
      faultNs: Number(faultNs),
    })),
  };
}

function floorTo(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}
