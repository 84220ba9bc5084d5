-- vaddr_windows: times in which a type1 mapping had no virtual address (live update): from UNMAP_FLAG_VADDR to the MAP_FLAG_VADDR for the range.
--
-- The device goes on using the pages, which stay pinned; what needs the address (a mediated device, mapping anew) waits.
--
-- @column trace      number of the trace
-- @column obj        container
-- @column iova       first byte of the mapping, I/O-virtual
-- @column len        bytes
-- @column matched    whether the new address came for exactly this range; false if for another one, or never
-- @column from_seq   row that gave the address up
-- @column past_seq   row that brought the new one; null if none did
-- @column from_ns    ts_ns of from_seq; null if unknown
-- @column past_ns    ts_ns of past_seq; null if unknown
-- @column window_ns  past_ns - from_ns, ns; null if unknown or still open
-- @example select count(*), max(window_ns), count(*) filter (where not matched) as unmatched from vaddr_windows
create or replace view vaddr_windows as
select trace, obj, iova, len, matched, from_seq, past_seq, from_ns, past_ns, past_ns::bigint - from_ns::bigint as window_ns
from _vaddr_windows;
