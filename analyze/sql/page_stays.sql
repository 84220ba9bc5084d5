-- page_stays: how long guest memory stayed on one side: a row from the conversion that brought a range there to the one that took it away.
--
-- Ranges are cut where conversions cut them. A conversion that finds memory on the side it asks for changes nothing and ends no stay. Memory is on
-- neither side before its first conversion, and that time is no stay. Failed and ignored conversions do not count.
--
-- @column trace       number of the trace
-- @column vm          number of the VM; null if the trace does not tell VMs apart
-- @column gpa         first byte, guest-physical
-- @column len         bytes
-- @column is_private  which side
-- @column from_seq    row that brought it there
-- @column past_seq    row that took it away; null if it was there at the end
-- @column from_ns     ts_ns of from_seq; null if unknown
-- @column past_ns     ts_ns of past_seq; null if unknown
-- @column stay_ns     past_ns - from_ns, ns; null if unknown or still there
create or replace view page_stays as
select trace, vm, gpa, len, is_private, from_seq, past_seq, from_ns, past_ns, past_ns::bigint - from_ns::bigint as stay_ns
from _sides;
