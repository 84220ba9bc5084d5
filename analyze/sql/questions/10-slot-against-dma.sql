-- slot-against-dma: For the same memory or BAR, which takes longer: the memory slot of KVM, or mapping it for DMA?
--
-- Calls belong together by their address in the VMM: a DMA mapping goes with the slot of exactly its range, else with the longest slot that begins
-- where it does or last before, if that has its first byte. The largest ranges first.
--
-- @column trace       number of the trace
-- @column hva         first byte of the slot's range, host-virtual
-- @column len         bytes
-- @column slot_calls  calls that made a slot of it
-- @column slot_ns     ns in them; null if unknown
-- @column map_calls   calls that mapped a part of it for DMA
-- @column mapped      bytes that they mapped
-- @column map_ns      ns in them; null if unknown
-- @limit The page table that KVM fills later, on the guest's faults, is in no call: only kernel tracepoints (kvm_page_fault) tell.
with slots as (
  select m.trace, m.hva, m.len, count(*) as slot_calls, sum(_known_ns(e.dur_ns)) as slot_ns
  from memslots m
  join events e on e.trace = m.trace and e.seq = m.from_seq
  where m.hva is not null and m.len > 0 and _past(m.hva, m.len) is not null
  group by m.trace, m.hva, m.len
),
maps as (
  select trace, hva, len, dur_ns
  from events
  where op in ('vfio_map_dma', 'iommufd_ioas_map') and errno = 0 and hva is not null and coalesce(op <> 'vfio_map_dma' or (flags & 4) = 0, true)
),
longest as (select trace, hva, max(len) as len from slots group by trace, hva),
placed as (
  select m.trace, m.hva, m.len, m.dur_ns, l.hva as slot_hva, if(s.len is null, l.len, s.len) as slot_len
  from maps m
  asof join longest l on l.trace = m.trace and m.hva >= l.hva
  left join slots s on s.trace = m.trace and s.hva = m.hva and s.len = m.len
  where m.hva < _past(l.hva, l.len)
),
mapped as (
  select trace, slot_hva, slot_len, count(*) as map_calls, sum(len) as mapped, sum(_known_ns(dur_ns)) as map_ns
  from placed
  group by trace, slot_hva, slot_len
)
select
  s.trace, s.hva, s.len, s.slot_calls::ubigint as slot_calls, try_cast(s.slot_ns as ubigint) as slot_ns,
  coalesce(p.map_calls, 0)::ubigint as map_calls, try_cast(coalesce(p.mapped, 0) as ubigint) as mapped, try_cast(p.map_ns as ubigint) as map_ns
from slots s
left join mapped p on p.trace = s.trace and p.slot_hva = s.hva and p.slot_len = s.len
order by s.len desc, s.trace, s.hva;
