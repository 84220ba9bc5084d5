-- faults-after-unmap: Did a device use an address after it was unmapped, and how long after?
--
-- One row per IOMMU fault, with the last mapping that its address was in before it, of whatever interface.
--
-- @column trace      number of the trace
-- @column seq        the fault
-- @column ts_ns      its time, ns; null if unknown
-- @column iova       address of the fault, I/O-virtual
-- @column detail     device, as the kernel names it; null if it does not
-- @column state      'unmapped' (it was mapped and is no more), 'mapped' (it is now: a matter of access rights), 'never mapped'
-- @column map_seq    row that made the mapping; null if never mapped
-- @column unmap_seq  row that ended it; null if it is still there, or never was
-- @column age_ns     ns from the end of the mapping to the fault; null if unknown
with faults as materialized (
  select trace, seq, _known_ns(ts_ns) as ts_ns, iova, detail
  from events
  where op = 'iommu_fault' and iova < 4611686018427387904
),
-- Mappings and addresses meet in the cells of the mappings' size, as in _split_ranges.
filed as (
  select *, unnest(list_distinct([iova >> cell_bits, (_past(iova, len) - 1) >> cell_bits])) as cell
  from (select *, _cell_bits(len) as cell_bits from dma_mappings where len > 0 and _past(iova, len) is not null)
),
probes as materialized (
  select a.trace, a.iova, s.cell_bits, a.iova >> s.cell_bits as cell
  from (select distinct trace, iova from faults) a
  join (select distinct trace, cell_bits from filed) s on s.trace = a.trace
),
lives as materialized (
  select p.trace, p.iova, f.map_seq, f.unmap_seq, f.unmap_ns
  from probes p
  join filed f on f.trace = p.trace and f.cell_bits = p.cell_bits and f.cell = p.cell
  where f.iova <= p.iova and p.iova < _past(f.iova, f.len)
)
select
  f.trace, f.seq, f.ts_ns, f.iova, f.detail,
  case when l.map_seq is null then 'never mapped' when l.unmap_seq < f.seq then 'unmapped' else 'mapped' end as state,
  l.map_seq, if(l.unmap_seq < f.seq, l.unmap_seq, null) as unmap_seq, if(l.unmap_seq < f.seq, f.ts_ns::bigint - l.unmap_ns::bigint, null) as age_ns
from faults f
asof left join lives l on l.trace = f.trace and l.iova = f.iova and f.seq >= l.map_seq
order by f.trace, f.seq;
