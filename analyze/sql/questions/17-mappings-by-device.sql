-- mappings-by-device: Which device or container, and which thread, maps and unmaps how much?
--
-- The kernel's own events name the device where its version does; the calls name the container or IOAS, which a device is attached to.
--
-- @column trace     number of the trace
-- @column op        call or event
-- @column obj       container or IOAS; null if none is named
-- @column device    device that the event names; null if it names none
-- @column pid       process; null if unknown
-- @column tid       thread; null if unknown
-- @column calls     rows
-- @column failed    rows with an errno
-- @column bytes     sum of their lengths, bytes; null if past 2^64
-- @column total_ns  ns in them; null if unknown
-- @limit Which devices are behind a container or IOAS only rows of vfio_set_iommu and vfio_attach_iommufd_pt tell; many kernels' events name none.
select
  trace, op::varchar as op, obj, detail as device, pid, tid, count(*)::ubigint as calls, count(*) filter (where errno <> 0)::ubigint as failed,
  try_cast(coalesce(sum(len), 0) as ubigint) as bytes, try_cast(sum(_known_ns(dur_ns)) as ubigint) as total_ns
from events
where
  op in (
    'vfio_map_dma', 'vfio_unmap_dma', 'iommufd_ioas_map', 'iommufd_ioas_map_file', 'iommufd_ioas_copy', 'iommufd_ioas_unmap', 'vfio_user_dma_map',
    'vfio_user_dma_unmap', 'iommu_map', 'iommu_unmap', 'iommu_fault'
  )
group by trace, op, obj, detail, pid, tid
order by trace, calls desc, op, obj, device, pid, tid;
