-- page_state_at(at_ns): the state of guest memory at a time: after the last row that started then or before. See page_state_at_seq.
--
-- One row per range of pages with the same state, not per page; memory of which nothing is known yet has none. Cost: one sort of the ranges that
-- were live then, however large the guest is.
--
-- @column trace           number of the trace
-- @column vm              number of the VM; null if the trace does not tell VMs apart
-- @column gpa             first byte, guest-physical
-- @column len             bytes
-- @column side            'private' or 'shared'; null before its first conversion
-- @column private_held    whether memory is held (allocated) on the private side
-- @column shared_held     whether memory is held on the shared side
-- @column dma_mappings    DMA mappings that cover it, those of the interface 'kernel' aside
-- @example select side, sum(len) from page_state_at(1000000000) group by side
--
-- What was so from one row to another, with the side or count that it adds. A mapping names no VM: it is that of the place that the call was
-- found at, or the only one that the trace has.
create or replace view _page_spans as
with vms as (
  select trace, if(count(distinct vm) = 1, any_value(vm), null) as only_vm
  from (select distinct trace, vm from _sides union select distinct trace, vm from _holds union select distinct trace, vm from _memslots)
  group by trace
),
found as (select trace, seq, min(vm) as vm from _places group by trace, seq)
select trace, vm, gpa, len, from_seq, past_seq, if(is_private, 'private', 'shared') as kind
from _sides
union all
select trace, vm, gpa, len, from_seq, past_seq, if(is_private, 'private_held', 'shared_held')
from _holds
union all
select m.trace, coalesce(f.vm, v.only_vm), m.gpa, m.len, m.map_seq, m.unmap_seq, 'mapped'
from _mappings m
left join found f on f.trace = m.trace and f.seq = m.map_seq
left join vms v on v.trace = m.trace
where m.gpa is not null and m.api <> 'kernel';

-- The state after the row `seq` of each trace: `moments` is a list of {trace, seq}. Ranges become edges, +1 where they begin and -1 behind them;
-- the sums over the edges in order say what holds from one to the next.
create or replace macro _page_state_at(moments) as table
with moment as (select unnest(moments, recursive := true)),
edges as (
  select
    s.trace, s.vm, unnest([s.gpa, _past(s.gpa, s.len)]) as edge, unnest([1, -1]) as step, s.kind
  from _page_spans s
  join moment m on m.trace = s.trace
  where s.from_seq <= m.seq and (s.past_seq is null or s.past_seq > m.seq) and s.len > 0 and _past(s.gpa, s.len) is not null
),
steps as (
  select
    trace, vm, edge,
    coalesce(sum(step) filter (where kind = 'private'), 0) as private_step,
    coalesce(sum(step) filter (where kind = 'shared'), 0) as shared_step,
    coalesce(sum(step) filter (where kind = 'private_held'), 0) as private_held_step,
    coalesce(sum(step) filter (where kind = 'shared_held'), 0) as shared_held_step,
    coalesce(sum(step) filter (where kind = 'mapped'), 0) as mapped_step
  from edges
  group by trace, vm, edge
),
ranges as (
  select
    trace, vm, edge as gpa, lead(edge) over (partition by trace, vm order by edge) as past,
    case when sum(private_step) over upto > 0 then 'private' when sum(shared_step) over upto > 0 then 'shared' end as side,
    sum(private_held_step) over upto > 0 as private_held, sum(shared_held_step) over upto > 0 as shared_held,
    (sum(mapped_step) over upto)::ubigint as dma_mappings
  from steps
  window upto as (partition by trace, vm order by edge)
),
known as (
  select
    *,
    not coalesce(
      lag(past) over before = gpa and lag(side) over before is not distinct from side and lag(private_held) over before = private_held
      and lag(shared_held) over before = shared_held and lag(dma_mappings) over before = dma_mappings, false
    ) as starts_range
  from ranges
  where past is not null and (side is not null or private_held or shared_held or dma_mappings > 0)
  window before as (partition by trace, vm order by gpa)
),
numbered as (
  select *, sum(starts_range::integer) over (partition by trace, vm order by gpa rows unbounded preceding) as number
  from known
)
select trace, vm, min(gpa) as gpa, max(past) - min(gpa) as len, side, private_held, shared_held, dma_mappings
from numbered
group by trace, vm, number, side, private_held, shared_held, dma_mappings;

create or replace macro page_state_at(at_ns) as table
select *
from _page_state_at((
  select list({trace: trace, seq: seq})
  from (select trace, max(seq) as seq from events where _known_ns(ts_ns) <= at_ns group by trace)
));

-- page_state_at_seq(at_seq): the state of guest memory after a row, and after that row of every open trace.
--
-- The columns are those of page_state_at. A seq after the last row gives the state at the end.
--
-- @columns page_state_at
-- @example select * from page_state_at_seq(1000) where side = 'shared' and shared_held
create or replace macro page_state_at_seq(at_seq) as table
select *
from _page_state_at((
  select list({trace: trace, seq: at_seq::ubigint}) from (select distinct trace from _page_spans)
));
