-- conversions: one row per request to make a range of guest memory private or shared, with what it cost.
--
-- A request is an exit (`exit_map_gpa_range`, or `exit_memory_fault` where the guest just used the memory). The calls that a VMM made for it are
-- those of the same process and thread that come after it in seq, before that thread's next exit, and start within its time. Where the exit or
-- the call has no time, the calls up to the next exit belong to it that convert, discard, allocate or map a part of its range; accesses do not.
-- A zero-length exit has the calls of zero length that start with it. kvm_set_memory_attributes outside every exit is a conversion that the VMM
-- made by itself (trigger 'vmm').
--
-- @column trace         number of the trace
-- @column seq           seq of the exit, or of the VMM's call
-- @column ts_ns         its start, ns; null if unknown
-- @column vcpu          vCPU that waited; null for the VMM's own
-- @column trigger       'exit_map_gpa_range', 'exit_memory_fault' or 'vmm'
-- @column gpa           first byte, guest-physical; null if unknown
-- @column len           bytes
-- @column direction     'to_private' or 'to_shared'; null if unknown
-- @column stall_ns      ns that the vCPU stood still; null if unknown, and for the VMM's own
-- @column attribute_ns  ns of it in kvm_set_memory_attributes
-- @column discard_ns    ns of it in punching holes and madvise
-- @column allocate_ns   ns of it in fallocate, pre-faulting and touching
-- @column dma_ns        ns of it in mapping and unmapping for DMA
-- @column other_ns      stall_ns minus the four above, ns: the VMM's own work; below 0 if a call outlasted its exit
-- @column calls         ioctls, fallocates and madvises inside
-- @column outcome       'failed' if the guest was told so or the attribute call failed, else 'ok'
-- @column errno         of the first call inside that failed, 0 if none did
-- @column retries       failed requests of the same vCPU, range and direction directly before this one
-- @column partial       true if an earlier conversion's range overlaps this range and is not inside it, so that it is now split
create or replace view _exits as
select
  trace, coalesce(pid::bigint, -1) as pid, coalesce(tid::bigint, -1) as tid, seq, ts_ns, dur_ns, vcpu, op::varchar as trigger, gpa, len,
  case when op = 'exit_map_gpa_range' then (attrs & 16) <> 0 else (flags & 8) <> 0 end as to_private,
  -- KVM_RUN itself returns -1 with EFAULT for a memory fault: that is the exit, not its failure.
  coalesce(result <> 0 and not (op = 'exit_memory_fault' and result = -1), false) as refused
from events
where op in ('exit_map_gpa_range', 'exit_memory_fault');

-- part: what a call does for a conversion; 'nested' are tracepoints inside calls that are counted already.
create or replace view _calls as
select
  trace, coalesce(pid::bigint, -1) as pid, coalesce(tid::bigint, -1) as tid, seq, ts_ns, dur_ns, gpa, len, errno, (attrs & 8) <> 0 as to_private,
  case
    when op in ('kvm_set_memory_attributes', 'kvm_set_memory_attributes2') then 'attribute'
    when op in ('gmem_punch_hole', 'ram_punch_hole', 'ram_madvise') then 'discard'
    when op in ('gmem_allocate', 'ram_allocate', 'kvm_pre_fault_memory') then 'allocate'
    when op in ('gmem_touch', 'ram_touch') then 'touch'
    else 'dma'
  end as part
from events
where op in (
  'kvm_set_memory_attributes', 'kvm_set_memory_attributes2', 'gmem_punch_hole', 'ram_punch_hole', 'ram_madvise', 'gmem_allocate', 'ram_allocate',
  'kvm_pre_fault_memory', 'gmem_touch', 'ram_touch', 'vfio_map_dma', 'vfio_unmap_dma', 'iommufd_ioas_map', 'iommufd_ioas_map_file',
  'iommufd_ioas_unmap', 'iommufd_ioas_copy', 'iommufd_hwpt_invalidate'
);

-- Every call with the exit it belongs to (exit_seq null: none).
create or replace view _attributed_calls as
select
  c.trace, c.seq, c.ts_ns, c.dur_ns, c.gpa, c.len, c.errno, c.to_private, c.part,
  case
    when e.seq is null then null
    when e.ts_ns is null or e.dur_ns is null or c.ts_ns is null then
      case when c.part <> 'touch' and coalesce(c.gpa < e.gpa + e.len and e.gpa < c.gpa + c.len, true) then e.seq end
    when c.ts_ns >= e.ts_ns and c.ts_ns < e.ts_ns + e.dur_ns then e.seq
    when e.dur_ns = 0 and c.ts_ns = e.ts_ns and coalesce(c.dur_ns, 0) = 0 then e.seq
  end as exit_seq
from _calls c
asof left join _exits e on c.trace = e.trace and c.pid = e.pid and c.tid = e.tid and c.seq > e.seq;

create or replace view _call_sums as
select
  trace, exit_seq,
  coalesce(sum(dur_ns) filter (where part = 'attribute'), 0)::bigint as attribute_ns,
  coalesce(sum(dur_ns) filter (where part = 'discard'), 0)::bigint as discard_ns,
  coalesce(sum(dur_ns) filter (where part in ('allocate', 'touch')), 0)::bigint as allocate_ns,
  coalesce(sum(dur_ns) filter (where part = 'dma'), 0)::bigint as dma_ns,
  count(*) filter (where part <> 'touch') as calls,
  arg_min(errno, seq) filter (where errno <> 0) as errno,
  bool_or(part = 'attribute' and errno <> 0) as attribute_failed
from _attributed_calls
where exit_seq is not null
group by trace, exit_seq;

-- The conversions without what needs other conversions (retries, partial).
create or replace view _conversions as
select
  e.trace, e.seq, e.ts_ns, e.vcpu, e.trigger, e.gpa, e.len,
  case e.to_private when true then 'to_private' when false then 'to_shared' end as direction,
  e.dur_ns::bigint as stall_ns,
  coalesce(s.attribute_ns, 0) as attribute_ns, coalesce(s.discard_ns, 0) as discard_ns, coalesce(s.allocate_ns, 0) as allocate_ns,
  coalesce(s.dma_ns, 0) as dma_ns,
  e.dur_ns::bigint - coalesce(s.attribute_ns + s.discard_ns + s.allocate_ns + s.dma_ns, 0) as other_ns,
  coalesce(s.calls, 0) as calls,
  case when e.refused or coalesce(s.attribute_failed, false) then 'failed' else 'ok' end as outcome,
  coalesce(s.errno, 0)::usmallint as errno
from _exits e
left join _call_sums s on s.trace = e.trace and s.exit_seq = e.seq
union all
select
  trace, seq, ts_ns, null, 'vmm', gpa, len, case to_private when true then 'to_private' when false then 'to_shared' end, null,
  coalesce(dur_ns, 0)::bigint, 0, 0, 0, null, 1, case when errno <> 0 then 'failed' else 'ok' end, errno
from _attributed_calls
where part = 'attribute' and exit_seq is null;

-- Distinct ranges that some other range of an `ok` conversion sticks out of: from `since` (seq) on, converting the range splits that other.
create or replace view _split_ranges as
with ranges as (
  select trace, gpa, gpa + len as past, min(seq) filter (where outcome = 'ok') as first_ok
  from _conversions
  where len > 0 and gpa is not null
  group by trace, gpa, len
),
crossings as (
  -- `other` holds the byte before this range and its first byte, or its last byte and the one after it.
  select a.trace, a.gpa, a.past, o.first_ok
  from ranges a
  join ranges o on o.trace = a.trace and o.gpa < a.gpa and o.past > a.gpa
  union all
  select a.trace, a.gpa, a.past, o.first_ok
  from ranges a
  join ranges o on o.trace = a.trace and o.gpa < a.past and o.past > a.past
)
select trace, gpa, past - gpa as len, min(first_ok) as since
from crossings
where first_ok is not null
group by trace, gpa, past;

create or replace view conversions as
with runs as (
  select
    *,
    count(*) filter (where starts_run) over (partition by trace, vcpu order by seq rows unbounded preceding) as run
  from (
    select
      *,
      not coalesce(
        lag(outcome) over before = 'failed' and lag(gpa) over before = gpa and lag(len) over before = len
        and lag(direction) over before = direction and vcpu is not null, false
      ) as starts_run
    from _conversions
    window before as (partition by trace, vcpu order by seq)
  )
)
select
  r.trace, r.seq, r.ts_ns, r.vcpu, r.trigger, r.gpa, r.len, r.direction, r.stall_ns, r.attribute_ns, r.discard_ns, r.allocate_ns, r.dma_ns,
  r.other_ns, r.calls, r.outcome, r.errno,
  row_number() over (partition by r.trace, r.vcpu, r.run order by r.seq) - 1 as retries,
  coalesce(s.since < r.seq, false) as partial
from runs r
left join _split_ranges s on s.trace = r.trace and s.gpa = r.gpa and s.len = r.len;
