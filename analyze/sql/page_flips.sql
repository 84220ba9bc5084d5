-- page_flips: how often each range of guest memory changed sides. One row per range of pages with the same history, not per page: ranges are cut
-- where any successful conversion begins or ends. Failed conversions, and those of unknown range or direction, do not count.
--
-- Cost: one row in flight per conversion and range that it covers. A few large conversions over many small ranges are cheap; many are not, and
-- `cvmtrace analyze` counts flips in another way.
--
-- @column trace             number of the trace
-- @column gpa               first byte, guest-physical
-- @column len               bytes
-- @column pages             len in pages of 4 KiB
-- @column to_private        conversions to private
-- @column to_shared         conversions to shared
-- @column flips             conversions to the other side than the one before; the first one of a range is none, what was before it is unknown
-- @column first_ns          ts_ns of the first conversion; null if unknown
-- @column last_ns           ts_ns of the last conversion; null if unknown
-- @column shortest_stay_ns  shortest time between a flip and the conversion that brought the range to the side it left, ns; null without flips
create or replace view _side_changes as
select trace, seq, ts_ns, gpa, _past(gpa, len) as past, direction = 'to_private' as to_private
from _conversions
where outcome = 'ok' and direction is not null and len > 0 and _past(gpa, len) is not null;

create or replace view page_flips as
with edges as (
  select trace, gpa as edge from _side_changes
  union
  select trace, past from _side_changes
),
ranges as materialized (
  select trace, edge as gpa, lead(edge) over (partition by trace order by edge) as past
  from edges
),
-- Ranges are compared with conversions of their cells only, as in _split_ranges.
filed as materialized (
  select *, unnest(list_distinct([gpa >> cell_bits, (past - 1) >> cell_bits])) as cell
  from (select *, _cell_bits(past - gpa) as cell_bits from _side_changes)
),
probes as materialized (
  select r.trace, r.gpa, r.past, s.cell_bits, r.gpa >> s.cell_bits as cell
  from ranges r
  join (select distinct trace, cell_bits from filed) s on s.trace = r.trace
),
history as (
  select
    p.trace, p.gpa, p.past, f.seq, f.ts_ns, f.to_private,
    lag(f.to_private) over (partition by p.trace, p.gpa order by f.seq) as was_private
  from probes p
  join filed f on f.trace = p.trace and f.cell_bits = p.cell_bits and f.cell = p.cell
  where f.gpa <= p.gpa and f.past > p.gpa
),
stays as (
  select
    *,
    max(case when was_private is distinct from to_private then ts_ns end) over (
      partition by trace, gpa order by seq rows between unbounded preceding and 1 preceding
    ) as there_since
  from history
)
select
  trace, gpa, past - gpa as len, (past - gpa) // 4096 as pages,
  count(*) filter (where to_private)::ubigint as to_private,
  count(*) filter (where not to_private)::ubigint as to_shared,
  count(*) filter (where was_private <> to_private)::ubigint as flips,
  min(ts_ns) as first_ns,
  max(ts_ns) as last_ns,
  min(ts_ns::bigint - there_since::bigint) filter (where was_private <> to_private) as shortest_stay_ns
from stays
group by trace, gpa, past;
