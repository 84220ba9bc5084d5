-- lazy-discard: What does discarding on every flip cost, and what would discarding later save?
--
-- One row per side that is discarded and delay: with a delay of 0 ms, what was spent on discards as they were. See discards_avoided for others.
--
-- @column trace           number of the trace
-- @column discarded_side  'private' (conversions to shared discard it) or 'shared'
-- @column delay_ms        how long memory would be kept, ms
-- @column discards        conversions that left the side
-- @column avoided         those whose memory all came back within the delay
-- @column avoided_share   avoided / discards
-- @column peak_bytes      most additional memory held at a time, bytes; null if unknown
-- @column byte_seconds    additional memory held, bytes x s; null if unknown
-- @column discard_ns      ns that conversions spent in discards of that side
-- @also cvmtrace replay TRACE --strategy upm-eager,lazy-discard,upm-no-shared-discard
with delays as (
  select 0 as delay_ms, * from discards_avoided(0)
  union all
  select 1, * from discards_avoided(1)
  union all
  select 10, * from discards_avoided(10)
  union all
  select 100, * from discards_avoided(100)
  union all
  select 1000, * from discards_avoided(1000)
),
spent as (
  select trace, if(direction = 'to_private', 'shared', 'private') as discarded_side, sum(discard_ns) as discard_ns
  from _conversions
  where direction is not null
  group by all
)
select
  d.trace, d.discarded_side, delay_ms, discards, avoided, avoided / discards as avoided_share, peak_bytes, byte_seconds,
  try_cast(s.discard_ns as bigint) as discard_ns
from delays d
left join spent s on s.trace = d.trace and s.discarded_side = d.discarded_side
order by d.trace, d.discarded_side, delay_ms;
