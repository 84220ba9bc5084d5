-- dma_mappings: the life of every DMA mapping, from the call that made it to the one that ended it.
--
-- One unmap can end many mappings; where an interface cuts a mapping (the compatibility mode of iommufd with large pages off) or gives up half-way
-- (iommufd's own unmap, which leaves what does not fit), each piece is a row. UNMAP ALL and the close of a container end all that are live.
--
-- @column trace      number of the trace
-- @column api        'type1' (vfio_map_dma), 'iommufd', 'vfio-user', 'listener' (QEMU's region_add and region_del), 'kernel' (iommu:map and unmap)
-- @column obj        container or IOAS; null if the trace does not tell them apart
-- @column iova       first byte, I/O-virtual
-- @column len        bytes
-- @column gpa        first byte, guest-physical, as the call says it or as the slots of that moment have it; null if unknown
-- @column hva        first byte, host-virtual; null if unknown
-- @column map_seq    row that mapped it
-- @column unmap_seq  row that ended it; null if it was live at the end of the trace
-- @column map_ns     ts_ns of map_seq; null if unknown
-- @column unmap_ns   ts_ns of unmap_seq; null if unknown
-- @column life_ns    unmap_ns - map_ns, ns; null if unknown or still live
-- @column ended_by   'unmap', 'unmap_all', 'cut' (a piece of it was unmapped), 'close', 'replaced' (mapped again without an unmap: one was missed); null if live
create or replace view dma_mappings as
select
  trace, api, obj, iova, len, gpa, hva, map_seq, unmap_seq, map_ns, unmap_ns, unmap_ns::bigint - map_ns::bigint as life_ns, ended_by
from _mappings;
