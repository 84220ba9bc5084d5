-- after-shutdown: How long after the VM was closed did the host go on giving its memory back?
--
-- From the first close of a VM or guest_memfd to the last of each kind of row after it that gives memory back.
--
-- @column trace     number of the trace
-- @column op        what gave memory back: pages of files (mm_filemap_delete_from_page_cache), mappings of the IOMMU, holes, unmaps
-- @column close_seq the first close of a VM or guest_memfd
-- @column rows      rows after it
-- @column bytes     sum of their lengths, bytes; null if none has one
-- @column last_seq  the last of them
-- @column after_ns  ns from the close to the end of the last one; null if unknown
-- @limit When split huge pages are whole again is the host's affair and no event here: rows end when pages are free, not when they are merged.
with objects as (
  select distinct trace, obj from events where op in ('kvm_create_vm', 'kvm_create_guest_memfd') and errno = 0
),
closed as (
  select e.trace, min(e.seq) as seq, arg_min(_known_ns(e.ts_ns), e.seq) as ts_ns
  from events e
  join objects o on o.trace = e.trace and o.obj = e.obj
  where e.op = 'close'
  group by e.trace
)
select
  e.trace, e.op::varchar as op, any_value(c.seq) as close_seq, count(*)::ubigint as rows,
  try_cast(sum(e.len) as ubigint) as bytes, max(e.seq) as last_seq,
  (max(coalesce(_past(_known_ns(e.ts_ns), _known_ns(e.dur_ns)), _known_ns(e.ts_ns)))::bigint - any_value(c.ts_ns)::bigint) as after_ns
from events e
join closed c on c.trace = e.trace and e.seq > c.seq
where
  e.errno = 0
  and e.op in ('mm_filemap_delete_from_page_cache', 'iommu_unmap', 'gmem_punch_hole', 'ram_punch_hole', 'ram_madvise', 'munmap', 'kvm_unmap_hva_range')
group by e.trace, e.op
order by e.trace, after_ns desc nulls last, op;
