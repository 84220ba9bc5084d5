-- conversion-storm: Which ranges were asked for most often, and are they memory or holes (MMIO)?
--
-- Ranges of requests that touch each other are one region. A hole converts nothing, but every exit for it costs.
--
-- @column trace     number of the trace
-- @column memory    'ram' or 'hole', as in guest_requests; 'partly'; null if the trace has no slots
-- @column gpa       first byte of the region, guest-physical
-- @column len       bytes
-- @column requests  requests of the guest in it
-- @column exits     exits that they took
-- @column bytes     sum of the lengths asked for: more than len if ranges were asked for again
-- @column stall_ns  ns that vCPUs stood still for it; null if unknown
with requests as (
  select *, _past(gpa, len) as past
  from guest_requests
  where len > 0 and _past(gpa, len) is not null
),
compared as (
  select *, coalesce(gpa > max(past) over earlier, true) as starts_region
  from requests
  window earlier as (partition by trace, memory order by gpa, seq rows between unbounded preceding and 1 preceding)
),
regions as (
  select *, sum(starts_region::integer) over (partition by trace, memory order by gpa, seq rows unbounded preceding) as region
  from compared
)
select
  trace, memory, min(gpa) as gpa, max(past) - min(gpa) as len, count(*)::ubigint as requests, sum(exits)::ubigint as exits,
  try_cast(sum(len) as ubigint) as bytes, try_cast(sum(stall_ns) as bigint) as stall_ns
from regions
group by trace, memory, region
order by exits desc, trace, gpa
limit 20;
