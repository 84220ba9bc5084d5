-- memory_over_time: how much guest memory was private, shared and really held, after each row that changed it.
--
-- A page is private or shared by the last successful conversion that covered it; before the first one it is neither. It is held on a side from an
-- allocation or an access there until a hole is punched or its pages are given back (madvise DONTNEED on anonymous memory, REMOVE). Only rows
-- with errno 0 and with a gpa count. Conversions count from their request's start. gmem_* is the private side; ram_* is the side that the object's
-- `ram_create` says, shared without it; guest_touch is the side of its object. A mapping for DMA pins its pages, so that they are held. A read of anonymous memory holds nothing: it maps the zero page.
--
-- @column trace               number of the trace
-- @column seq                 row after which it is so
-- @column ts_ns               its start, ns; null if unknown
-- @column private_bytes       memory that is private, bytes
-- @column shared_bytes        memory that is shared, bytes
-- @column private_held_bytes  memory held on the private side, bytes
-- @column shared_held_bytes   memory held on the shared side, bytes
-- @column doubly_held_bytes   memory held on both sides, bytes
create or replace view _ram_objects as
select
  trace, obj, bool_or(op = 'kvm_create_guest_memfd' or detail = 'private') as is_private,
  bool_or(op = 'kvm_create_guest_memfd' or (flags & 1) <> 0) as is_file
from events
where op in ('ram_create', 'kvm_create_guest_memfd') and errno = 0
group by trace, obj;

-- What is held: the side, and whether it is from now on.
create or replace view _held_changes as
select
  e.trace, e.seq, _known_ns(e.ts_ns) as ts_ns, e.gpa, _past(e.gpa, e.len) as past,
  e.op in ('gmem_allocate', 'gmem_punch_hole', 'gmem_touch') or coalesce(o.is_private, false) as is_private,
  e.op not in ('gmem_punch_hole', 'ram_punch_hole', 'ram_madvise') as is_held
from events e
left join _ram_objects o on o.trace = e.trace and o.obj = e.obj
where
  e.errno = 0 and e.len > 0 and _past(e.gpa, e.len) is not null
  and case
    when e.op in ('gmem_allocate', 'gmem_punch_hole', 'gmem_touch', 'ram_allocate', 'ram_punch_hole', 'vfio_map_dma', 'iommufd_ioas_map') then true
    when e.op in ('ram_touch', 'guest_touch') then coalesce(e.flags = 1, true) or coalesce(o.is_file, true)
    -- MADV_DONTNEED = 4, MADV_REMOVE = 9
    when e.op = 'ram_madvise' then e.flags = 9 or e.flags = 4 and not coalesce(o.is_file, false)
    else false
  end;

create or replace view memory_over_time as
with changes as materialized (
  select trace, seq, ts_ns, gpa, past, to_private as now_private, null::boolean as private_held, null::boolean as shared_held
  from _side_changes
  union all
  select trace, seq, ts_ns, gpa, past, null, if(is_private, is_held, null), if(is_private, null, is_held)
  from _held_changes
),
edges as (
  select trace, gpa as edge from changes
  union
  select trace, past from changes
),
ranges as materialized (
  select trace, edge as gpa, lead(edge) over (partition by trace order by edge) as past
  from edges
),
filed as materialized (
  select *, unnest(list_distinct([gpa >> cell_bits, (past - 1) >> cell_bits])) as cell
  from (select *, _cell_bits(past - gpa) as cell_bits from changes)
),
probes as materialized (
  select r.trace, r.gpa, r.past, s.cell_bits, r.gpa >> s.cell_bits as cell
  from ranges r
  join (select distinct trace, cell_bits from filed) s on s.trace = r.trace
),
states as (
  select
    p.trace, f.seq, f.ts_ns, (p.past - p.gpa)::bigint as bytes,
    last_value(f.now_private ignore nulls) over so_far as side,
    last_value(f.now_private ignore nulls) over before as old_side,
    coalesce(last_value(f.private_held ignore nulls) over so_far, false)::bigint as private_held,
    coalesce(last_value(f.private_held ignore nulls) over before, false)::bigint as old_private_held,
    coalesce(last_value(f.shared_held ignore nulls) over so_far, false)::bigint as shared_held,
    coalesce(last_value(f.shared_held ignore nulls) over before, false)::bigint as old_shared_held
  from probes p
  join filed f on f.trace = p.trace and f.cell_bits = p.cell_bits and f.cell = p.cell
  where f.gpa <= p.gpa and f.past > p.gpa
  window
    so_far as (partition by p.trace, p.gpa order by f.seq rows between unbounded preceding and current row),
    before as (partition by p.trace, p.gpa order by f.seq rows between unbounded preceding and 1 preceding)
),
deltas as (
  select
    trace, seq, any_value(ts_ns) as ts_ns,
    sum(bytes * (coalesce(side, false)::bigint - coalesce(old_side, false)::bigint)) as private_delta,
    sum(bytes * (coalesce(not side, false)::bigint - coalesce(not old_side, false)::bigint)) as shared_delta,
    sum(bytes * (private_held - old_private_held)) as private_held_delta,
    sum(bytes * (shared_held - old_shared_held)) as shared_held_delta,
    sum(bytes * (private_held * shared_held - old_private_held * old_shared_held)) as doubly_held_delta
  from states
  group by trace, seq
)
select
  trace, seq, ts_ns,
  (sum(private_delta) over running)::ubigint as private_bytes,
  (sum(shared_delta) over running)::ubigint as shared_bytes,
  (sum(private_held_delta) over running)::ubigint as private_held_bytes,
  (sum(shared_held_delta) over running)::ubigint as shared_held_bytes,
  (sum(doubly_held_delta) over running)::ubigint as doubly_held_bytes
from deltas
where private_delta <> 0 or shared_delta <> 0 or private_held_delta <> 0 or shared_held_delta <> 0
window running as (partition by trace order by seq rows unbounded preceding);
