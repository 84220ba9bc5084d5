-- conversion-cost-by-size: What does a conversion cost by the size of its range, and which part of it is attributes, discards, allocation and DMA?
--
-- @column trace            number of the trace
-- @column size_class       class of the range's length, as in op_latency
-- @column direction        'to_private' or 'to_shared'
-- @column conversions      conversions of the guest that went through, of known stall
-- @column p50_ns           median stall, ns
-- @column p99_ns           99th percentile, ns
-- @column ns_per_page      ns by page of 4 KiB
-- @column attribute_share  part of the stall in kvm_set_memory_attributes
-- @column discard_share    part in discards
-- @column allocate_share   part in allocation
-- @column dma_share        part in mapping and unmapping
-- @also cvmtrace replay TRACE --strategy qemu-10.1,in-place --dma mock
select
  trace, size_class(len) as size_class, direction, count(*)::ubigint as conversions, quantile_disc(stall_ns, 0.5) as p50_ns,
  quantile_disc(stall_ns, 0.99) as p99_ns, sum(stall_ns) / sum(pages_of(len)) as ns_per_page,
  sum(attribute_ns) / nullif(sum(stall_ns), 0) as attribute_share, sum(discard_ns) / nullif(sum(stall_ns), 0) as discard_share,
  sum(allocate_ns) / nullif(sum(stall_ns), 0) as allocate_share, sum(dma_ns) / nullif(sum(stall_ns), 0) as dma_share
from _conversions
where trigger <> 'vmm' and outcome = 'ok' and direction is not null and stall_ns is not null and len > 0
group by trace, _size_class(len), size_class(len), direction
order by trace, _size_class(len), direction;
