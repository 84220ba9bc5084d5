-- boot: how long each vCPU stood still for conversions, in all and by phase.
--
-- One row per phase and vCPU that converted in it, and one per vCPU for the whole trace (phase null). Conversions before the first mark are in
-- the latter only.
--
-- @column trace        number of the trace
-- @column phase        number of the phase; null for the whole trace
-- @column name         its name; null for the whole trace
-- @column vcpu         vCPU; null if unknown
-- @column wall_ns      length of the phase, of the trace from its first to its last time, ns; null if unknown
-- @column conversions  requests of the vCPU
-- @column bytes        sum of their lengths, bytes
-- @column stall_ns     ns that it stood still for them; null if unknown
-- @column stall_share  stall_ns / wall_ns
create or replace view boot as
with requests as (
  select trace, seq, vcpu, len, stall_ns
  from _conversions
  where trigger <> 'vmm'
),
by_phase as (
  select p.trace, p.phase, p.name, r.vcpu, any_value(p.dur_ns) as wall_ns, count(*) as conversions, sum(r.len) as bytes, sum(r.stall_ns) as stall_ns
  from requests r
  asof join phases p on p.trace = r.trace and r.seq >= p.from_seq
  where r.seq < p.past_seq
  group by p.trace, p.phase, p.name, r.vcpu
  union all
  select r.trace, null, null, r.vcpu, any_value((s.end_ns - s.start_ns)::bigint), count(*), sum(r.len), sum(r.stall_ns)
  from requests r
  join _trace_ends s on s.trace = r.trace
  group by r.trace, r.vcpu
)
select
  trace, phase, name, vcpu, wall_ns, conversions::ubigint as conversions, try_cast(coalesce(bytes, 0) as ubigint) as bytes, try_cast(stall_ns as bigint) as stall_ns,
  stall_ns / nullif(wall_ns, 0) as stall_share
from by_phase;
