-- discards_avoided(delay_ms): what giving memory back later would save, if a side's copy were kept for so many ms after memory left that side.
--
-- Every conversion discards the copy on the side that memory leaves. If memory comes back within the delay, that discard, and the allocation after
-- it, were for nothing. The price is memory that is held on both sides meanwhile: until it comes back, for delay_ms at most, and no longer than
-- the trace. A conversion is avoided if all of its memory comes back in time. Without times nothing is.
--
-- @column trace           number of the trace
-- @column discarded_side  side whose copy is discarded: 'private' by conversions to shared, 'shared' by those to private
-- @column discards        conversions that left the side
-- @column avoided         those of them whose memory all came back within the delay
-- @column bytes           memory that left the side, bytes
-- @column avoided_bytes   memory that came back within the delay, bytes
-- @column byte_seconds    additional memory held, bytes x s; null if unknown
-- @column peak_bytes      most additional memory held at a time, bytes; null if unknown
-- @example select * from discards_avoided(10)
create or replace macro discards_avoided(delay_ms) as table
with stays as (
  select
    s.trace, s.vm, s.from_seq, if(s.is_private, 'shared', 'private') as discarded_side, s.len::hugeint as len, s.from_ns,
    coalesce(s.stay_ns <= delay_ms * 1000000::double, false) as comes_back,
    case when s.past_seq is null then e.end_ns::double - s.from_ns else s.stay_ns end as kept_ns,
    if(kept_ns is null, null, least(greatest(kept_ns, 0), delay_ms * 1000000::double)) as held_ns
  from page_stays s
  left join _trace_ends e on e.trace = s.trace
),
conversions_of as (
  select
    trace, discarded_side, from_seq, bool_and(comes_back) as avoided, sum(len) as bytes, sum(len) filter (where comes_back) as avoided_bytes,
    sum(len * held_ns / 1e9) as byte_seconds
  from stays
  group by trace, vm, discarded_side, from_seq
),
steps as (
  select trace, discarded_side, at_ns, sum(bytes) as bytes
  from (
    select trace, discarded_side, unnest([from_ns::double, from_ns + held_ns]) as at_ns, unnest([len, -len]) as bytes
    from stays
    where from_ns + held_ns is not null
  )
  group by trace, discarded_side, at_ns
),
peaks as (
  select trace, discarded_side, max(held) as peak_bytes
  from (select trace, discarded_side, sum(bytes) over (partition by trace, discarded_side order by at_ns) as held from steps)
  group by trace, discarded_side
)
select
  c.trace, c.discarded_side, count(*)::ubigint as discards, count(*) filter (where avoided)::ubigint as avoided,
  try_cast(sum(bytes) as ubigint) as bytes, try_cast(coalesce(sum(avoided_bytes), 0) as ubigint) as avoided_bytes,
  sum(byte_seconds) as byte_seconds, try_cast(any_value(p.peak_bytes) as ubigint) as peak_bytes
from conversions_of c
left join peaks p on p.trace = c.trace and p.discarded_side = c.discarded_side
group by c.trace, c.discarded_side;
