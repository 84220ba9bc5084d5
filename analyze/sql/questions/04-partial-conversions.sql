-- partial-conversions: How many conversions take a part of what an earlier one made, and what would a mapper that can cut mappings need?
--
-- Such a mapper makes one mapping of all that a conversion shares, and one unmap of all that another one takes back; where that begins or ends
-- inside a mapping, it is cut there first. Its calls are counted from where shared memory came from and went to (page_stays).
--
-- @column trace            number of the trace
-- @column conversions      conversions that went through
-- @column partial          those whose range overlaps an earlier one's that is not inside it
-- @column partial_share    partial / conversions
-- @column recorded_maps    calls that mapped, as they were
-- @column recorded_unmaps  calls that unmapped, as they were
-- @column maps             maps that the mapper would make
-- @column unmaps           unmaps that it would make
-- @column cuts             cuts that it would make before them
with requests as (
  select trace, count(*) as conversions, count(*) filter (where partial) as partial
  from conversions
  where outcome = 'ok'
  group by trace
),
recorded as (
  select
    trace, count(*) filter (where op in ('vfio_map_dma', 'iommufd_ioas_map', 'iommufd_ioas_map_file')) as maps,
    count(*) filter (where op in ('vfio_unmap_dma', 'iommufd_ioas_unmap')) as unmaps
  from events
  where errno = 0
  group by trace
),
pieces as (
  select
    trace, vm, from_seq, past_seq, gpa = lag(_past(gpa, len)) over in_order as continues,
    past_seq is not distinct from lag(past_seq) over in_order as goes_with_it
  from page_stays
  where not is_private
  window in_order as (partition by trace, vm, from_seq order by gpa)
),
modelled as (
  select
    trace, count(*) filter (where not coalesce(continues, false)) as maps, count(distinct (vm, past_seq)) filter (where past_seq is not null) as unmaps,
    count(*) filter (where continues and not goes_with_it) as cuts
  from pieces
  group by trace
)
select
  r.trace, r.conversions::ubigint as conversions, r.partial::ubigint as partial, r.partial / r.conversions as partial_share,
  c.maps::ubigint as recorded_maps, c.unmaps::ubigint as recorded_unmaps, coalesce(m.maps, 0)::ubigint as maps,
  coalesce(m.unmaps, 0)::ubigint as unmaps, coalesce(m.cuts, 0)::ubigint as cuts
from requests r
join recorded c on c.trace = r.trace
left join modelled m on m.trace = r.trace
order by r.trace;
