-- run-sizes: In pieces of which size is each GiB of I/O-virtual addresses mapped: how fragmented is the memory behind it?
--
-- Those of the interface 'kernel' (iommu:map) are physically contiguous; without them only what the VMM asked for is known.
--
-- @column trace      number of the trace
-- @column api        interface, as in dma_mappings
-- @column gib        which GiB of I/O-virtual addresses
-- @column run_limit  length that no run passes, bytes (a power of 2)
-- @column runs       mappings of that size
-- @column bytes      bytes that they mapped; null if past 2^64
-- @column share      bytes / all bytes that were mapped in that GiB by that interface
select
  trace, api, gib, run_limit, sum(runs)::ubigint as runs, try_cast(sum(bytes) as ubigint) as bytes,
  sum(bytes) / sum(sum(bytes)) over (partition by trace, api, gib) as share
from run_sizes
group by trace, api, gib, run_limit
order by trace, api, gib, run_limit;
