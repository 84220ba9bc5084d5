-- dma-headroom: How high does the number of live DMA mappings climb, and how many more would the limit allow?
--
-- One row per container or IOAS, the one nearest to its limit first. The peak is exact: an unmap that ends many mappings counts for all of them.
--
-- @column trace          number of the trace
-- @column api            interface, as in dma_mappings
-- @column obj            container or IOAS; null if the trace does not tell them apart
-- @column peak_mappings  most mappings live at a time
-- @column peak_bytes     most bytes mapped at a time
-- @column peak_seq       row that brought it to the peak
-- @column peak_ns        ts_ns of that row; null if unknown
-- @column entry_limit    mappings that it may have (dma_entry_limit); null without a limit
-- @column headroom       entry_limit - peak_mappings
-- @column refused        maps that the kernel refused for the limit (ENOSPC)
with refused as (
  select trace, obj, count(*) as refused
  from events
  where op = 'vfio_map_dma' and errno = 28
  group by trace, obj
),
peaks as (
  select
    trace, api, obj, max(live_mappings) as peak_mappings, max(live_bytes) as peak_bytes,
    arg_max({seq: seq, ts_ns: ts_ns}, (live_mappings, -seq::hugeint)) as peak,
    any_value(entry_limit) as entry_limit, min(headroom) as headroom
  from dma_live
  group by trace, api, obj
)
select
  p.trace, api, p.obj, peak_mappings, peak_bytes, peak.seq as peak_seq, peak.ts_ns as peak_ns, entry_limit, headroom,
  coalesce(if(api = 'type1', r.refused, 0), 0)::ubigint as refused
from peaks p
left join refused r on r.trace = p.trace and r.obj is not distinct from p.obj
order by trace, headroom nulls last, peak_mappings desc, api, obj;
