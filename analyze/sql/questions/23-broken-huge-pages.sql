-- broken-huge-pages: Which ranges of 2 MiB were broken by a conversion of a part of them, and are they whole again at the end?
--
-- A range counts once memory in it was converted to shared in pieces that do not begin and end at its edges. Whether it is whole again is by
-- attributes: page tables that were split stay so where the host does not promote them.
--
-- @column trace         number of the trace
-- @column vm            number of the VM; null if the trace does not tell VMs apart
-- @column gpa           first byte of the 2 MiB, guest-physical
-- @column broken_seq    row that broke it first
-- @column broken_ns     ts_ns of it; null if unknown
-- @column conversions   conversions to shared that took a part of it
-- @column shared_bytes  bytes of it that are shared at the end, by such parts
-- @column whole_again   true if none is
with edges as (
  select
    trace, vm, gpa, _past(gpa, len) as past, from_seq, past_seq, from_ns,
    unnest(list_distinct(list_filter(
      [if(gpa % 2097152 <> 0, gpa >> 21, null), if(_past(gpa, len) % 2097152 <> 0, _past(gpa, len) >> 21, null)], lambda block: block is not null
    ))) as block
  from page_stays
  where not is_private and len > 0 and _past(gpa, len) is not null
)
select
  trace, vm, block << 21 as gpa, min(from_seq) as broken_seq, arg_min(from_ns, from_seq) as broken_ns, count(distinct from_seq)::ubigint as conversions,
  coalesce(sum(overlap_bytes(gpa, past - gpa, block << 21, 2097152::ubigint)) filter (where past_seq is null), 0)::ubigint as shared_bytes,
  shared_bytes = 0 as whole_again
from edges
group by trace, vm, block
order by trace, vm, block;
