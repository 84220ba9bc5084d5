-- deferred-unmaps: How many mappings are live at a time as the VMM sees it, and as the kernel does, which may free them later?
--
-- One row per interface: 'kernel' (iommu:map and iommu:unmap) has what the IOMMU still maps, the others what calls made and ended. A kernel that
-- frees lazily has the higher peak; what it mapped longer than the VMM's unmap is among the hazards (kernel_mapped_longer). iommufd has no limit
-- of entries: entry_limit is null there, and says what type1 would have refused elsewhere.
--
-- @column trace           number of the trace
-- @column api             interface, as in dma_mappings
-- @column peak_mappings   most mappings live at a time in all its containers
-- @column peak_bytes      most bytes mapped at a time
-- @column made            mappings made in all
-- @column entry_limit     lowest limit of one of its containers; null without a limit
-- @column mapped_longer   ranges that the kernel mapped longer than the VMM
-- @column longest_ns      longest time of that, ns; null if none or unknown
-- @limit A trace of calls alone has no row 'kernel': record the tracepoints iommu:map and iommu:unmap beside it, and import them with --align.
with longer as (
  select trace, count(*) as mapped_longer, max(age_ns) as longest_ns
  from hazards
  where kind = 'kernel_mapped_longer'
  group by trace
),
made as (select trace, api, count(*) as made from dma_mappings group by trace, api),
peaks as (
  select trace, api, max(api_mappings) as peak_mappings, max(api_bytes) as peak_bytes, min(entry_limit) as entry_limit
  from dma_live
  group by trace, api
)
select
  p.trace, p.api, p.peak_mappings, p.peak_bytes, m.made::ubigint as made, p.entry_limit,
  coalesce(if(p.api = 'kernel', l.mapped_longer, 0), 0)::ubigint as mapped_longer, if(p.api = 'kernel', l.longest_ns, null) as longest_ns
from peaks p
join made m on m.trace = p.trace and m.api = p.api
left join longer l on l.trace = p.trace
order by p.trace, p.api;
