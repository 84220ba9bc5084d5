-- mapping-granularity: Does one IOMMU mapping per 4 KiB scale: what do mappings of each size cost to make and to end?
--
-- One row per call and size class. Compare peak_mappings with the entry limit (dma-headroom), and runs of the same conversions with other sizes.
--
-- @column trace         number of the trace
-- @column op            call that maps or unmaps
-- @column size_class    class of its length, as in op_latency
-- @column calls         calls that succeeded
-- @column bytes         bytes mapped, or unmapped
-- @column total_ns      ns in them; null if unknown
-- @column ns_per_page   total_ns by page of 4 KiB; null if unknown
-- @column ns_per_call   total_ns by call; null if unknown
-- @also cvmtrace replay TRACE --strategy qemu-10.1,dma-2m,dma-request --dma mock
with calls as (
  select trace, op, dur_ns, case when op like '%unmap%' then try_cast(result as ubigint) else len end as bytes
  from events
  where
    op in (
      'vfio_map_dma', 'vfio_unmap_dma', 'iommufd_ioas_map', 'iommufd_ioas_map_file', 'iommufd_ioas_copy', 'iommufd_ioas_unmap', 'iommu_map', 'iommu_unmap'
    )
    and errno = 0
)
select
  trace, op::varchar as op, size_class(bytes) as size_class, count(*)::ubigint as calls, try_cast(sum(bytes) as ubigint) as bytes,
  try_cast(sum(_known_ns(dur_ns)) as ubigint) as total_ns,
  sum(_known_ns(dur_ns)) / nullif(sum(bytes) filter (where _known_ns(dur_ns) is not null) / 4096, 0) as ns_per_page,
  avg(_known_ns(dur_ns)) as ns_per_call
from calls
group by trace, op, _size_class(bytes), size_class(bytes)
order by trace, op, _size_class(bytes);
