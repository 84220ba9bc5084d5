-- vaddr-gaps: How long was a mapping without a virtual address in a live update, did the new ones fit, and was it used meanwhile?
--
-- One row per container and way it went.
--
-- @column trace           number of the trace
-- @column obj             container
-- @column matched         whether the new address came for exactly the same range
-- @column open            whether it never came
-- @column mappings        mappings of which that is so
-- @column bytes           bytes of them; null if past 2^64
-- @column shortest_ns     shortest time without an address, ns; null if unknown
-- @column longest_ns      longest time, ns; null if unknown
-- @column window_ns       from the first address given up to the last one brought back, ns; null if unknown
-- @column faults          IOMMU faults in that container's window, of any address
-- @limit What a mediated device reads through the address, and waits for, is inside the kernel and no event.
-- @also cvmtrace run --scenario live-update --dma type1
with windows as (
  select
    trace, obj, matched, past_seq is null as open, count(*) as mappings, sum(len) as bytes, min(window_ns) as shortest_ns, max(window_ns) as longest_ns,
    max(past_ns)::bigint - min(from_ns)::bigint as window_ns, min(from_seq) as from_seq, if(bool_or(past_seq is null), null, max(past_seq)) as past_seq
  from vaddr_windows
  group by trace, obj, matched, open
)
select
  w.trace, w.obj, w.matched, w.open, any_value(w.mappings)::ubigint as mappings, try_cast(any_value(w.bytes) as ubigint) as bytes,
  any_value(w.shortest_ns) as shortest_ns, any_value(w.longest_ns) as longest_ns, any_value(w.window_ns) as window_ns, count(f.seq)::ubigint as faults
from windows w
left join (select trace, seq from events where op = 'iommu_fault') f
  on f.trace = w.trace and f.seq > w.from_seq and (w.past_seq is null or f.seq < w.past_seq)
group by w.trace, w.obj, w.matched, w.open
order by w.trace, w.obj, w.matched, w.open;
