-- doubly-held: How much memory is held on both sides at a time, and when?
--
-- One row per phase, and one for the whole trace (phase null). What is mapped for DMA stays pinned, and so held, whatever becomes of it.
--
-- @column trace                   number of the trace
-- @column phase                   number of the phase; null for the whole trace
-- @column name                    its name; null for the whole trace
-- @column peak_doubly_held_bytes  most memory held on both sides at a time, bytes
-- @column peak_seq                row that brought it there
-- @column peak_ns                 ts_ns of that row; null if unknown
-- @column private_held_bytes      held on the private side then, bytes
-- @column shared_held_bytes       held on the shared side then, bytes
-- @column pinned_bytes            pinned by DMA mappings then, bytes
-- @column last_doubly_held_bytes  held on both sides after its last change, bytes
with spans as (
  select trace, phase, name, from_seq, past_seq from phases
  union all
  select trace, null, null, 0, past_seq from _trace_ends
),
peaks as (
  select
    s.trace, s.phase, any_value(s.name) as name,
    arg_max(m, (m.doubly_held_bytes, -m.seq::hugeint)) as peak, arg_max(m.doubly_held_bytes, m.seq) as last_bytes
  from memory_over_time m
  join spans s on s.trace = m.trace and m.seq >= s.from_seq and m.seq < s.past_seq
  group by s.trace, s.phase
)
select
  trace, phase, name, peak.doubly_held_bytes as peak_doubly_held_bytes, peak.seq as peak_seq, peak.ts_ns as peak_ns,
  peak.private_held_bytes as private_held_bytes, peak.shared_held_bytes as shared_held_bytes, peak.pinned_bytes as pinned_bytes,
  last_bytes as last_doubly_held_bytes
from peaks
order by trace, phase nulls first;
