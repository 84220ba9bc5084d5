-- coalescing(within_us): what merging adjacent requests would save, if those of one direction that follow each other within so many us were one.
--
-- A request joins the one before it of the same vCPU if it goes the same way, begins where that ended (or ends where it began), and starts at most
-- within_us microseconds after it was answered. Requests without times join nothing. Only the guest's requests that went through count.
--
-- @column trace           number of the trace
-- @column direction       'to_private' or 'to_shared'
-- @column requests        requests as they were
-- @column merged          requests that would be left
-- @column saved_requests  requests - merged
-- @column largest_bytes   longest request after merging, bytes
-- @column calls           ioctls, fallocates and madvises inside the requests
-- @column saved_calls     calls - those of the busiest request of each merged one: what is left if a merged request takes one set of calls
-- @column stall_ns        ns that vCPUs stood still for the requests; null if unknown
-- @column saved_ns        saved_requests x the shortest stall of that direction, ns: what a request costs however small. Modelled; null if unknown
-- @example select * from coalescing(100)
create or replace macro coalescing(within_us) as table
with requests as (
  select trace, seq, vcpu, direction, ts_ns, stall_ns, gpa, len, calls
  from _conversions
  where trigger <> 'vmm' and outcome = 'ok' and direction is not null and len > 0
),
compared as (
  select
    *,
    not coalesce(
      lag(direction) over before = direction and ranges_adjacent(lag(gpa) over before, lag(len) over before, gpa, len)
      and ts_ns <= lag(ts_ns) over before + lag(stall_ns) over before + within_us * 1000, false
    ) as starts_run
  from requests
  window before as (partition by trace, vcpu order by seq)
),
runs as (
  select *, sum(starts_run::integer) over (partition by trace, vcpu order by seq rows unbounded preceding) as run
  from compared
),
merged as (
  select
    trace, direction, count(*) as requests, sum(len) as bytes, sum(calls) as calls, max(calls) as busiest, sum(stall_ns) as stall_ns,
    min(stall_ns) as shortest_ns
  from runs
  group by trace, vcpu, run, direction
)
select
  trace, direction, sum(requests)::ubigint as requests, count(*)::ubigint as merged, (sum(requests) - count(*))::ubigint as saved_requests,
  try_cast(max(bytes) as ubigint) as largest_bytes, sum(calls)::ubigint as calls, (sum(calls) - sum(busiest))::ubigint as saved_calls,
  try_cast(sum(stall_ns) as bigint) as stall_ns, try_cast((sum(requests) - count(*)) * min(shortest_ns)::hugeint as bigint) as saved_ns
from merged
group by trace, direction;
