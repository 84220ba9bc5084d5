-- map-calls-in-context: What else was going on when a DMA map call was slow: which phase, which conversion, what did other threads do?
--
-- The 20 calls that took longest.
--
-- @column trace         number of the trace
-- @column seq           the call
-- @column ts_ns         its start, ns; null if unknown
-- @column dur_ns        ns in it
-- @column op            its name
-- @column iova          first byte, I/O-virtual
-- @column len           bytes
-- @column writable      whether the device may write; null if unknown
-- @column phase         name of the phase; null before the first mark
-- @column conversion    seq of the conversion that it is inside; null if it is in none
-- @column vcpu          vCPU that waited for that conversion; null if none did
-- @column meanwhile     rows of other threads that began while it ran
with slowest as materialized (
  select trace, seq, _known_ns(ts_ns) as ts_ns, _known_ns(dur_ns) as dur_ns, op, iova, len, flags, pid, tid
  from events
  where op in ('vfio_map_dma', 'iommufd_ioas_map', 'iommufd_ioas_map_file', 'iommufd_ioas_copy') and _known_ns(dur_ns) is not null
  order by dur_ns desc, trace, seq
  limit 20
),
others as (
  select s.trace, s.seq, count(*) as meanwhile
  from slowest s
  join events e on e.trace = s.trace and e.ts_ns >= s.ts_ns and e.ts_ns < s.ts_ns + s.dur_ns
  where (e.pid, e.tid) is distinct from (s.pid, s.tid)
  group by s.trace, s.seq
),
inside as (
  select s.trace, s.seq, r.conversion, c.vcpu
  from slowest s
  join _conversion_rows r on r.trace = s.trace and r.seq = s.seq
  join _conversions c on c.trace = r.trace and c.seq = r.conversion
)
select
  s.trace, s.seq, s.ts_ns, s.dur_ns, s.op::varchar as op, s.iova, s.len,
  (s.flags & 2) <> 0 as writable,
  p.name as phase, i.conversion, i.vcpu, coalesce(o.meanwhile, 0)::ubigint as meanwhile
from slowest s
asof left join phases p on p.trace = s.trace and s.seq >= p.from_seq
left join inside i on i.trace = s.trace and i.seq = s.seq
left join others o on o.trace = s.trace and o.seq = s.seq
order by s.dur_ns desc, s.trace, s.seq;
