-- How two ranges [start, start + size) lie to each other: all bytes, half-open. Null where a range is unknown or damaged (see _past); a range
-- of no bytes overlaps nothing and lies inside every range that its start is in or at the edge of.

-- ranges_overlap(start_a, size_a, start_b, size_b): true if at least one byte is in both ranges.
--
-- @example select ranges_overlap(0, 8192, 4096, 4096)
create or replace macro ranges_overlap(start_a, size_a, start_b, size_b) as
  if(_past(start_a, size_a) + _past(start_b, size_b) is null, null,
    start_a < _past(start_b, size_b) and start_b < _past(start_a, size_a) and size_a > 0 and size_b > 0);

-- range_contains(start_a, size_a, start_b, size_b): true if all of range b is inside range a.
--
-- @example select range_contains(0, 8192, 4096, 4096)
create or replace macro range_contains(start_a, size_a, start_b, size_b) as
  start_a <= start_b and _past(start_b, size_b) <= _past(start_a, size_a);

-- ranges_adjacent(start_a, size_a, start_b, size_b): true if one range begins where the other ends, so that both together are one range.
--
-- @example select ranges_adjacent(0, 4096, 4096, 4096)
create or replace macro ranges_adjacent(start_a, size_a, start_b, size_b) as
  _past(start_a, size_a) = start_b or _past(start_b, size_b) = start_a;

-- overlap_bytes(start_a, size_a, start_b, size_b): bytes that are in both ranges.
--
-- @example select overlap_bytes(0, 8192, 4096, 8192)
create or replace macro overlap_bytes(start_a, size_a, start_b, size_b) as case
  when ranges_overlap(start_a, size_a, start_b, size_b)
    then least(_past(start_a, size_a), _past(start_b, size_b)) - greatest(start_a, start_b)
  when not ranges_overlap(start_a, size_a, start_b, size_b) then 0
end::ubigint;
