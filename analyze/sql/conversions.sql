-- conversions: one row per request to make a range of guest memory private or shared, with what it cost.
--
-- A request is an exit (`exit_map_gpa_range`, or `exit_memory_fault` where the guest just used the memory). The calls that a VMM made for it are
-- those of the same process and thread that come after it in seq, before that thread's next exit, and start within its time. Where the exit or
-- the call has no time, the calls up to the next exit belong to it that convert, discard, allocate or map a part of its range; accesses do not.
-- A zero-length exit has the calls of zero length that start with it. kvm_set_memory_attributes outside every exit is a conversion that the VMM
-- made by itself (trigger 'vmm'); QEMU's trace event kvm_convert_memory, which says that it is about to, stands for it, but is no call.
--
-- What the VMM set decides the direction; what the guest asked for does where no attribute call is seen. Where a trace has attribute calls that
-- succeeded, an exit without one converted nothing (a request for a hole in memory, or for a discard only): outcome 'ignored'.
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
-- @column outcome       'failed' if the guest was told so or the attribute call failed, 'ignored' if nothing was converted, else 'ok'
-- @column errno         of the first call inside that failed, 0 if none did
-- @column retries       failed requests of the same vCPU, range and direction directly before this one
-- @column partial       true if an earlier conversion's range overlaps this range and is not inside it, so that it is now split
-- Exits and the calls that may belong to one, each with the last exit of its thread. Tracepoints inside calls (iommu_map) are left out, their
-- time is their call's. Only narrow columns go through the window: it sorts all of them.
create or replace view _thread_calls as
with calls as (
  select
    trace, seq, _known_ns(ts_ns) as ts_ns, _known_ns(dur_ns) as dur_ns, pid, tid, vcpu, op, gpa, len, errno,
    op in ('exit_map_gpa_range', 'exit_memory_fault') as is_exit,
    case when op = 'exit_map_gpa_range' then attrs & 16 when op = 'exit_memory_fault' then flags & 8 else attrs & 8 end <> 0 as to_private,
    -- KVM_RUN itself returns -1 with EFAULT for a memory fault: that is the exit, not its failure.
    coalesce(result <> 0 and not (op = 'exit_memory_fault' and result = -1), false) as refused
  from events
  where op in (
    'exit_map_gpa_range', 'exit_memory_fault', 'kvm_set_memory_attributes', 'kvm_set_memory_attributes2', 'kvm_convert_memory', 'gmem_punch_hole', 'ram_punch_hole',
    'ram_madvise', 'gmem_allocate', 'ram_allocate', 'kvm_pre_fault_memory', 'gmem_touch', 'ram_touch', 'guest_touch', 'vfio_map_dma', 'vfio_unmap_dma',
    'iommufd_ioas_map', 'iommufd_ioas_map_file', 'iommufd_ioas_unmap', 'iommufd_ioas_copy', 'iommufd_hwpt_invalidate'
  )
)
select
  * exclude (pid, tid),
  last_value(case when is_exit then {seq: seq, ts_ns: ts_ns, dur_ns: dur_ns, gpa: gpa, len: len} end ignore nulls) over (
    partition by trace, pid, tid order by seq rows between unbounded preceding and current row
  ) as last_exit
from calls;

-- The rows of each conversion; part: what a row does for it; conversion: seq of the row that stands for it, the exit or the VMM's own call.
create or replace view _conversion_rows as
select * exclude (last_exit)
from (
  select
    *,
    case
      when is_exit then 'exit'
      when op in ('kvm_set_memory_attributes', 'kvm_set_memory_attributes2', 'kvm_convert_memory') then 'attribute'
      when op in ('gmem_punch_hole', 'ram_punch_hole', 'ram_madvise') then 'discard'
      when op in ('gmem_allocate', 'ram_allocate', 'kvm_pre_fault_memory') then 'allocate'
      when op in ('gmem_touch', 'ram_touch', 'guest_touch') then 'touch'
      else 'dma'
    end as part,
    case
      when is_exit then seq
      when last_exit.ts_ns is null or last_exit.dur_ns is null or ts_ns is null then
        case
          when part <> 'touch' and coalesce(gpa < _past(last_exit.gpa, last_exit.len) and last_exit.gpa < _past(gpa, len), true)
            then last_exit.seq
        end
      when ts_ns >= last_exit.ts_ns and ts_ns < _past(last_exit.ts_ns, last_exit.dur_ns) then last_exit.seq
      when last_exit.dur_ns = 0 and ts_ns = last_exit.ts_ns and coalesce(dur_ns, 0) = 0 then last_exit.seq
    end as exit_seq,
    coalesce(exit_seq, case when part = 'attribute' then seq end) as conversion
  from _thread_calls
)
where conversion is not null;

-- The conversions without what needs other conversions (retries, partial): one pass over the rows and one sort by thread.
create or replace view _conversions as
with sums as (
  select
    trace, conversion as seq,
    any_value(ts_ns) filter (where seq = conversion) as ts_ns,
    any_value(vcpu) filter (where is_exit) as vcpu,
    coalesce(any_value(op) filter (where is_exit)::varchar, 'vmm') as trigger,
    any_value(gpa) filter (where seq = conversion) as gpa,
    any_value(len) filter (where seq = conversion) as len,
    coalesce(
      arg_max(to_private, seq) filter (where part = 'attribute' and errno = 0), any_value(to_private) filter (where seq = conversion)
    ) as to_private,
    count(*) filter (where part = 'attribute') as attribute_calls,
    any_value(dur_ns) filter (where is_exit)::bigint as stall_ns,
    try_cast(coalesce(sum(dur_ns) filter (where part = 'attribute'), 0) as bigint) as attribute_ns,
    try_cast(coalesce(sum(dur_ns) filter (where part = 'discard'), 0) as bigint) as discard_ns,
    try_cast(coalesce(sum(dur_ns) filter (where part in ('allocate', 'touch')), 0) as bigint) as allocate_ns,
    try_cast(coalesce(sum(dur_ns) filter (where part = 'dma'), 0) as bigint) as dma_ns,
    count(*) filter (where part not in ('exit', 'touch') and op <> 'kvm_convert_memory') as calls,
    coalesce(bool_or(case part when 'exit' then refused when 'attribute' then errno <> 0 end), false) as failed,
    coalesce(arg_min(errno, seq) filter (where errno <> 0 and not is_exit), 0)::usmallint as errno
  from _conversion_rows
  group by trace, conversion
),
sets_attributes as (select trace, bool_or(part = 'attribute' and errno = 0) as seen from _conversion_rows group by trace)
select
  s.trace, seq, ts_ns, vcpu, trigger, gpa, len,
  case to_private when true then 'to_private' when false then 'to_shared' end as direction,
  stall_ns, attribute_ns, discard_ns, allocate_ns, dma_ns,
  try_cast(stall_ns::hugeint - attribute_ns - discard_ns - allocate_ns - dma_ns as bigint) as other_ns,
  calls, case when failed then 'failed' when attribute_calls = 0 and seen then 'ignored' else 'ok' end as outcome, errno
from sums s
join sets_attributes a on a.trace = s.trace;

-- Distinct ranges that a range of an `ok` conversion sticks out of: from `since` (seq) on, converting the one splits the other.
--
-- A range that another sticks out of begins or ends inside that other. All edges are numbered in their order, and what is inside a range is cut
-- into few nodes of a binary tree over these numbers, so that an edge is compared with the nodes above it only, whatever overlaps.
create or replace view _split_ranges as
with ranges as materialized (
  select trace, gpa, _past(gpa, len) as past, min(seq) filter (where outcome = 'ok') as first_ok
  from _conversions
  where len > 0 and _past(gpa, len) is not null
  group by trace, gpa, len
),
edges as materialized (
  select trace, edge, row_number() over (partition by trace order by edge) as number
  from (select trace, gpa as edge from ranges union select trace, past from ranges)
),
numbered as materialized (
  select r.trace, r.gpa, r.past, r.first_ok, a.number as first, b.number as last
  from ranges r
  join edges a on a.trace = r.trace and a.edge = r.gpa
  join edges b on b.trace = r.trace and b.edge = r.past
),
levels as (
  select trace, first + 1 as inside, last, first_ok, unnest(_tree_levels(last - first - 1)) as level
  from numbered
  where first_ok is not null
),
nodes as materialized (
  select trace, level, node, min(first_ok) as since
  from (select trace, level, first_ok, unnest(_tree_nodes(inside, last, level)) as node from levels)
  group by trace, level, node
),
inside as (
  select e.trace, e.number, min(n.since) as since
  from (select trace, number, unnest(range((select coalesce(max(level) + 1, 0) from nodes))) as level from edges) e
  join nodes n on n.trace = e.trace and n.level = e.level and n.node = e.number >> e.level
  group by e.trace, e.number
)
select r.trace, r.gpa, r.past - r.gpa as len, least(a.since, b.since) as since
from numbered r
left join inside a on a.trace = r.trace and a.number = r.first
left join inside b on b.trace = r.trace and b.number = r.last
where a.since is not null or b.since is not null;

create or replace view conversions as
with compared as (
  select
    *,
    not coalesce(
      lag(outcome) over before = 'failed' and lag(gpa) over before = gpa and lag(len) over before = len
      and lag(direction) over before = direction and vcpu is not null, false
    ) as starts_run
  from _conversions
  window before as (partition by trace, vcpu order by seq)
),
runs as (
  select
    * exclude (starts_run),
    sum(starts_run::integer) over (partition by trace, vcpu order by seq rows unbounded preceding) as run
  from compared
),
counted as (
  select * exclude (run), row_number() over (partition by trace, vcpu, run order by seq) - 1 as retries
  from runs
)
select c.*, coalesce(s.since < c.seq, false) as partial
from counted c
left join _split_ranges s on s.trace = c.trace and s.gpa = c.gpa and s.len = c.len;
