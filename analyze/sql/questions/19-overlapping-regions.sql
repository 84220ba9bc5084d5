-- overlapping-regions: Does the VMM add regions over live ones, or remove regions that are not there?
--
-- @column trace        number of the trace
-- @column kind         'double_mapping' (a map over a live range) or 'unmap_no_match' (an unmap of what is not mapped)
-- @column severity     'error' where the interface let it pass, 'warning' where it was refused or did nothing, 'note' where lost events may explain it
-- @column seq          the row that did it
-- @column ts_ns        its start, ns; null if unknown
-- @column obj          container or IOAS; null if unknown
-- @column iova         first byte, I/O-virtual
-- @column len          bytes
-- @column proof        rows that prove it
-- @column explanation  one sentence
select trace, kind, severity, seq, ts_ns, obj, iova, len, proof, explanation
from hazards
where kind in ('double_mapping', 'unmap_no_match')
order by trace, seq, kind;
