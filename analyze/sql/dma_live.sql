-- dma_live: how many DMA mappings were live, and how many bytes, after each row that changed it: per container, and in all of its interface.
--
-- One unmap can end many mappings, and all that it ends count at once. A container is what has the limit: type1 refuses to map more than
-- dma_entry_limit (a parameter of vfio_iommu_type1). Where the VMM asked (vfio_iommu_get_info answers how many are left) that answer and what
-- was live at that moment make the limit, else it is taken for the kernel's default. iommufd has none.
--
-- @column trace          number of the trace
-- @column api            interface, as in dma_mappings
-- @column obj            container or IOAS; null if the trace does not tell them apart
-- @column seq            row after which it is so
-- @column ts_ns          its start, ns; null if unknown
-- @column live_mappings  mappings live in the container
-- @column live_bytes     bytes that they map; null if past 2^64
-- @column peak_mappings  most mappings live in the container so far
-- @column api_mappings   mappings live in all containers of the interface
-- @column api_bytes      bytes that they map; null if past 2^64
-- @column entry_limit    mappings that the container may have; null if it has no limit
-- @column headroom       entry_limit - live_mappings; below 0 if the limit is not the kernel's default, or mappings ended unseen
-- @example select api, obj, max(live_mappings) as peak, min(headroom) as headroom from dma_live group by all
create or replace view _dma_live_steps as
with steps as (
  select trace, api, obj, map_seq as seq, map_ns as ts_ns, 1 as mappings, len::hugeint as bytes
  from dma_mappings
  union all
  select trace, api, obj, unmap_seq, unmap_ns, -1, -len::hugeint
  from dma_mappings
  where unmap_seq is not null
),
changes as (
  select trace, api, obj, seq, any_value(ts_ns) as ts_ns, sum(mappings) as mappings, sum(bytes) as bytes
  from steps
  group by trace, api, obj, seq
)
select
  trace, api, obj, seq, ts_ns,
  sum(mappings) over own as live_mappings, sum(bytes) over own as live_bytes,
  sum(mappings) over whole as api_mappings, sum(bytes) over whole as api_bytes
from changes
window
  own as (partition by trace, api, obj order by seq),
  whole as (partition by trace, api order by seq);

create or replace view dma_live as
with steps as materialized (select * from _dma_live_steps),
answers as (
  select trace, coalesce(obj::bigint, -1) as container, seq, result
  from events
  where op = 'vfio_iommu_get_info' and errno = 0 and result >= 0
),
-- 2^32 - 1 is the answer of an interface without a limit (iommufd's compatibility mode).
limits as (
  select a.trace, a.container, arg_min(if(a.result = 4294967295, null, a.result + coalesce(s.live_mappings, 0)), a.seq) as entry_limit, true as asked
  from answers a
  asof left join (select trace, coalesce(obj::bigint, -1) as container, seq, live_mappings from steps where api = 'type1') s
    on s.trace = a.trace and s.container = a.container and a.seq >= s.seq
  group by a.trace, a.container
)
select
  s.trace, s.api, s.obj, s.seq, s.ts_ns,
  s.live_mappings::ubigint as live_mappings, try_cast(s.live_bytes as ubigint) as live_bytes,
  (max(s.live_mappings) over (partition by s.trace, s.api, s.obj order by s.seq))::ubigint as peak_mappings,
  s.api_mappings::ubigint as api_mappings, try_cast(s.api_bytes as ubigint) as api_bytes,
  try_cast(case when s.api <> 'type1' then null when l.asked then l.entry_limit else 65535 end as ubigint) as entry_limit,
  try_cast(case when s.api <> 'type1' then null when l.asked then l.entry_limit else 65535 end - s.live_mappings as bigint) as headroom
from steps s
left join limits l on l.trace = s.trace and l.container = coalesce(s.obj::bigint, -1);
