-- hazards: what is wrong or dangerous in a trace, each with the rows that prove it. One fault is one row: what follows from it is in its explanation.
--
-- Kinds: stale_mapping, discarded_while_mapped, mapped_while_private, double_mapping, unmap_no_match, unmap_left_piece, conversion_failed,
-- discard_failed, doubly_held, dma_entry_limit, implicit_conversion, flip_storm, kernel_mapped_longer, access_after_unmap, vaddr_window.
--
-- @column trace        number of the trace
-- @column kind         what it is
-- @column severity     'error' (data or isolation at risk, or a call failed), 'warning' (can become one), 'note'
-- @column seq          row at which it became true
-- @column ts_ns        its start, ns; null if unknown
-- @column vm           VM; null if unknown
-- @column obj          container, IOAS or file; null if none
-- @column gpa          first byte concerned, guest-physical; null if unknown
-- @column iova         first byte concerned, I/O-virtual; null if none
-- @column len          bytes concerned; null if none
-- @column count        mappings, flips or calls concerned
-- @column age_ns       how long after its cause, ns; null where that has no meaning
-- @column proof        seq of the rows that prove it, in order
-- @column explanation  one sentence
create or replace view hazards as
select
  trace, kind, severity, seq, ts_ns, vm, obj, gpa, iova, len, count, age_ns, string_split(proof, ',')::ubigint[] as proof, explanation
from _hazards;
