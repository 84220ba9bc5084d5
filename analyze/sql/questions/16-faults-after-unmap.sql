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
mappings as materialized (
  select trace, iova, _past(iova, len) as past, map_seq, unmap_seq, unmap_ns
  from dma_mappings
  where len > 0 and _past(iova, len) is not null
),
-- Mappings and addresses meet in the nodes of a tree over all edges and addresses in their order, as in _split_ranges.
edges as materialized (
  select trace, edge, row_number() over (partition by trace order by edge) as number
  from (
    select trace, iova as edge from mappings
    union
    select trace, past from mappings
    union
    select trace, iova from faults
  )
),
spans as (
  select m.trace, m.map_seq, m.unmap_seq, m.unmap_ns, a.number as first, b.number as last, unnest(_tree_levels(b.number - a.number)) as level
  from mappings m
  join edges a on a.trace = m.trace and a.edge = m.iova
  join edges b on b.trace = m.trace and b.edge = m.past
  where m.trace in (select trace from faults)
),
nodes as materialized (
  select trace, level, unnest(_tree_nodes(first, last, level)) as node, map_seq, unmap_seq, unmap_ns
  from spans
),
probes as (
  select f.trace, f.seq, e.number, unnest(range((select coalesce(max(level) + 1, 0) from nodes))) as level
  from faults f
  join edges e on e.trace = f.trace and e.edge = f.iova
),
lives as (
  select p.trace, p.seq, arg_max({map_seq: n.map_seq, unmap_seq: n.unmap_seq, unmap_ns: n.unmap_ns}, n.map_seq) as life
  from (select *, number >> level as node from probes) p
  asof join nodes n on n.trace = p.trace and n.level = p.level and n.node = p.node and p.seq >= n.map_seq
  group by p.trace, p.seq
)
select
  f.trace, f.seq, f.ts_ns, f.iova, f.detail,
  case when life is null then 'never mapped' when life.unmap_seq < f.seq then 'unmapped' else 'mapped' end as state,
  life.map_seq as map_seq, if(life.unmap_seq < f.seq, life.unmap_seq, null) as unmap_seq,
  if(life.unmap_seq < f.seq, f.ts_ns::bigint - life.unmap_ns::bigint, null) as age_ns
from faults f
left join lives l on l.trace = f.trace and l.seq = f.seq
order by f.trace, f.seq;
