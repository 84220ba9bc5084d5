-- live-mappings: How many DMA mappings are live at the end of each phase, and how many does one unmap end?
--
-- One row per phase and container, and one per container for the whole trace (phase null). What was live before the first row of a phase counts.
--
-- @column trace              number of the trace
-- @column phase              number of the phase; null for the whole trace
-- @column name               its name; null for the whole trace
-- @column api                interface, as in dma_mappings
-- @column obj                container or IOAS; null if the trace does not tell them apart
-- @column live_mappings      live at its end
-- @column live_bytes         bytes that they map
-- @column mapped             mappings made in it
-- @column ended              mappings ended in it
-- @column ending_rows        rows that ended them: calls to unmap, closes, and maps over live ranges
-- @column most_ended_by_one  most mappings that one row ended
with spans as (
  select trace, phase, name, from_seq, past_seq from phases
  union all
  select trace, null, null, 0, past_seq from _trace_ends
),
lives as materialized (select *, coalesce(obj::bigint, -1) as container from dma_live),
containers as (select distinct trace, api, obj, container from lives),
made as (select trace, api, obj, map_seq as seq, count(*) as mapped from dma_mappings group by all),
gone as (select trace, api, obj, unmap_seq as seq, count(*) as ended from dma_mappings where unmap_seq is not null group by all),
changes as (
  select trace, api, obj, seq, mapped, 0 as ended from made
  union all
  select trace, api, obj, seq, 0, ended from gone
),
counted as (
  select
    s.trace, s.phase, c.api, c.obj, sum(mapped) as mapped, sum(ended) as ended,
    count(*) filter (where ended > 0) as ending_rows, max(ended) as most_ended
  from changes c
  join spans s on s.trace = c.trace and c.seq >= s.from_seq and c.seq < s.past_seq
  group by s.trace, s.phase, c.api, c.obj
),
ends as (
  select s.trace, s.phase, s.name, c.api, c.obj, c.container, s.past_seq - 1 as last_seq
  from spans s
  join containers c on c.trace = s.trace
)
select
  e.trace, e.phase, e.name, e.api, e.obj, coalesce(l.live_mappings, 0)::ubigint as live_mappings, coalesce(l.live_bytes, 0)::ubigint as live_bytes,
  coalesce(c.mapped, 0)::ubigint as mapped, coalesce(c.ended, 0)::ubigint as ended, coalesce(c.ending_rows, 0)::ubigint as ending_rows,
  coalesce(c.most_ended, 0)::ubigint as most_ended_by_one
from ends e
asof left join lives l on l.trace = e.trace and l.api = e.api and l.container = e.container and e.last_seq >= l.seq
left join counted c
  on c.trace = e.trace and c.phase is not distinct from e.phase and c.api = e.api and c.obj is not distinct from e.obj
order by e.trace, e.phase nulls first, e.api, e.obj;
