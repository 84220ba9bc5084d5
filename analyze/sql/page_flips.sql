-- page_flips: how often each range of guest memory changed sides. One row per range of pages with the same history, not per page: ranges are cut
-- where any successful conversion begins or ends. Failed conversions, and those of unknown range or direction, do not count.
--
-- How long memory stayed on a side is in page_stays. Cost: one sort of the conversions and stays, whatever overlaps.
--
-- @column trace       number of the trace
-- @column vm          number of the VM; null if the trace does not tell VMs apart
-- @column gpa         first byte, guest-physical
-- @column len         bytes
-- @column pages       len in pages of 4 KiB
-- @column to_private  conversions to private
-- @column to_shared   conversions to shared
-- @column flips       conversions to the other side than it was on; the first one of a range is none, what was before it is unknown
-- @example select gpa, len, flips from page_flips order by flips desc limit 10
--
-- A conversion that names an offset in a guest_memfd is where the slots of its moment have it.
create or replace view _converted_ranges as
select c.trace, r.vm, coalesce(c.gpa, p.gpa) as gpa, if(c.gpa is null, p.len, c.len) as len, c.direction = 'to_private' as to_private
from _conversions c
left join _requests r on r.trace = c.trace and r.seq = c.seq
left join _places p on c.gpa is null and p.trace = c.trace and p.seq = c.seq
where c.outcome = 'ok' and c.direction is not null;

-- Ranges become edges, +1 where they begin and -1 behind them; the sums over the edges in order are the counts from one to the next.
create or replace view page_flips as
with edges as (
  select
    trace, vm, unnest([gpa, _past(gpa, len)]) as edge, unnest([1, -1]) * to_private::integer as private_step,
    unnest([1, -1]) * (not to_private)::integer as shared_step, 0 as stay_step
  from _converted_ranges
  where len > 0 and _past(gpa, len) is not null
  union all
  select trace, vm, unnest([gpa, _past(gpa, len)]), 0, 0, unnest([1, -1])
  from page_stays
  where len > 0 and _past(gpa, len) is not null
),
steps as (
  select trace, vm, edge, sum(private_step) as private_step, sum(shared_step) as shared_step, sum(stay_step) as stay_step
  from edges
  group by trace, vm, edge
),
ranges as (
  select
    trace, vm, edge as gpa, lead(edge) over (partition by trace, vm order by edge) as past, sum(private_step) over upto as to_private,
    sum(shared_step) over upto as to_shared, sum(stay_step) over upto as stays
  from steps
  window upto as (partition by trace, vm order by edge)
)
select
  trace, vm, gpa, past - gpa as len, (past - gpa) // 4096 as pages, to_private::ubigint as to_private, to_shared::ubigint as to_shared,
  greatest(stays - 1, 0)::ubigint as flips
from ranges
where past is not null and to_private + to_shared > 0;
