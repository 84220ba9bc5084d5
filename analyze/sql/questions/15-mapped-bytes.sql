-- mapped-bytes: How much memory does a policy keep mapped for devices, at most and on average, and how much of it is shared at all?
--
-- One row per trace and interface. Replay one trace with both policies, then open the replays' traces together. The average is over time.
--
-- @column trace         number of the trace
-- @column api           interface, as in dma_mappings
-- @column peak_bytes    most bytes mapped at a time
-- @column mean_bytes    bytes mapped on average from its first mapping to the end of the trace; null if times are unknown
-- @column maps          mappings made
-- @column peak_shared   most memory that was shared at a time, bytes; 0 if none was converted
-- @also cvmtrace replay TRACE --strategy qemu-10.1,cloud-hypervisor-53 --dma mock
with spans as (
  select
    l.trace, l.api, l.api_bytes, lead(l.ts_ns, 1, e.end_ns) over (partition by l.trace, l.api order by l.seq)::double - l.ts_ns as span_ns
  from dma_live l
  join _trace_ends e on e.trace = l.trace
),
mapped as (
  select trace, api, max(api_bytes) as peak_bytes, sum(api_bytes * greatest(span_ns, 0)) / nullif(sum(greatest(span_ns, 0)), 0) as mean_bytes
  from spans
  group by trace, api
),
made as (select trace, api, count(*) as maps from dma_mappings group by trace, api),
shared as (select trace, max(shared_bytes) as peak_shared from memory_over_time group by trace)
select m.trace, m.api, m.peak_bytes, m.mean_bytes, n.maps::ubigint as maps, coalesce(s.peak_shared, 0)::ubigint as peak_shared
from mapped m
join made n on n.trace = m.trace and n.api = m.api
left join shared s on s.trace = m.trace
order by m.trace, m.api;
