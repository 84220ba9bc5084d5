-- left-after-unmap: Which unmaps left a piece mapped, although their range covered it?
--
-- @column trace        number of the trace
-- @column severity     'error', or 'warning' if a later call took the piece away
-- @column seq          the unmap
-- @column ts_ns        its start, ns; null if unknown
-- @column obj          container or IOAS; null if unknown
-- @column iova         first byte of what is left, I/O-virtual
-- @column len          bytes of it
-- @column proof        rows that prove it
-- @column explanation  one sentence
-- @also cvmtrace run --scenario shared-device-assignment --dma mock
select trace, severity, seq, ts_ns, obj, iova, len, proof, explanation
from hazards
where kind = 'unmap_left_piece'
order by trace, seq;
