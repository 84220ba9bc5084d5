-- latency-by-vcpus: Does a conversion take longer the more vCPUs there are, and in which phase?
--
-- One row per phase of each trace, with the number of its vCPUs: open recordings with different numbers together. Rows before the first mark
-- have no phase.
--
-- @column trace         number of the trace
-- @column vcpus         vCPUs that the trace names
-- @column phase         number of the phase; null before the first mark
-- @column name          its name; null before the first mark
-- @column conversions   requests of the guest, of known stall
-- @column pages         pages of 4 KiB that they asked for
-- @column ns_per_page   ns that vCPUs stood still, by page
-- @column p50_ns        median stall of a request, ns
-- @column p99_ns        99th percentile, ns
-- @column busy_vcpus    vCPUs that asked in that phase
-- @limit The host's clock only: what a guest's own log says about the same time is another trace (import it with --align), to be compared.
with vcpus as (
  select trace, count(distinct vcpu) as vcpus
  from events
  where vcpu is not null
  group by trace
),
requests as (
  select c.trace, c.vcpu, c.stall_ns, c.len, p.phase, p.name
  from _conversions c
  asof left join phases p on p.trace = c.trace and c.seq >= p.from_seq
  where c.trigger <> 'vmm' and c.stall_ns is not null and c.len > 0
)
select
  r.trace, coalesce(any_value(v.vcpus), 0)::ubigint as vcpus, r.phase, any_value(r.name) as name, count(*)::ubigint as conversions,
  try_cast(sum(pages_of(len)) as ubigint) as pages, sum(stall_ns) / sum(pages_of(len)) as ns_per_page,
  quantile_disc(stall_ns, 0.5) as p50_ns, quantile_disc(stall_ns, 0.99) as p99_ns, count(distinct r.vcpu)::ubigint as busy_vcpus
from requests r
left join vcpus v on v.trace = r.trace
group by r.trace, r.phase
order by r.trace, r.phase nulls first;
