-- run_sizes: in pieces of which size memory was mapped for DMA, for each GiB of I/O-virtual addresses.
--
-- A run is one mapping. Those of the interface 'kernel' (iommu:map) are pieces of contiguous physical memory, so their sizes are how fragmented
-- the host's memory is; those of the others are what the VMM asked for. A run that goes on into the next GiB counts where it begins.
--
-- @column trace      number of the trace
-- @column api        interface, as in dma_mappings
-- @column obj        container or IOAS; null if the trace does not tell them apart
-- @column gib        which GiB of I/O-virtual addresses (iova / 2^30)
-- @column run_limit  length that no run of the row passes, bytes: a power of 2; half of it is passed by all
-- @column runs       mappings of that size
-- @column bytes      bytes that they mapped; null if past 2^64
-- @example select api, size_text(run_limit), sum(runs), sum(bytes) from run_sizes group by all
create or replace view run_sizes as
select
  trace, api, obj, iova >> 30 as gib, power_of_2(len) as run_limit, sum(runs)::ubigint as runs, try_cast(sum(runs * len::hugeint) as ubigint) as bytes
from (select trace, api, obj, iova, len, count(*) as runs from dma_mappings where len > 0 group by trace, api, obj, iova, len)
group by trace, api, obj, gib, run_limit;
