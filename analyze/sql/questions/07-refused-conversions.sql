-- refused-conversions: Which conversion in place was refused because somebody holds a page, where, and who?
--
-- KVM_SET_MEMORY_ATTRIBUTES2 says EAGAIN, and where in the guest_memfd the first page is that has more references than it should. The DMA mappings
-- that were live there then are the ones that can be seen to hold it.
--
-- @column trace          number of the trace
-- @column seq            the call that was refused
-- @column ts_ns          its start, ns; null if unknown
-- @column obj            guest_memfd
-- @column offset         where its range begins in the file, bytes
-- @column len            bytes
-- @column error_offset   first page that is held, offset in the file; null if the kernel did not say
-- @column gpa            that page in the guest, through the slots of that moment; null if none has it
-- @column held_by        live DMA mappings of that page: {api, obj, iova, map_seq}; empty if none is seen (other drivers' pins leave no row)
-- @column retries        calls for the same range until one went through
-- @column settled_seq    the call that went through; null if none did
-- @column settled_ns     ns from the refusal to its start; null if unknown
-- @limit Pins of drivers that map nothing (get_user_pages) are no events: then held_by is empty, and only that the page is held is known.
with calls as (
  select trace, seq, _known_ns(ts_ns) as ts_ns, obj, "offset", len, attrs, errno, try_cast(result as ubigint) as error_offset
  from events
  where op = 'kvm_set_memory_attributes2'
),
-- Retries are told by file, range and attributes.
tries as (
  select
    *, first_value(case when errno = 0 then {seq: seq, ts_ns: ts_ns} end ignore nulls) over later as settled,
    count(*) over (partition by trace, obj, "offset", len, attrs order by seq) as nth
  from calls
  window later as (partition by trace, obj, "offset", len, attrs order by seq rows between 1 following and unbounded following)
),
settled_nth as (select trace, seq, nth from tries where errno = 0),
refused as materialized (
  select t.*, m.gpa + t.error_offset - m.gmem_offset as gpa
  from tries t
  left join memslots m
    on m.trace = t.trace and m.gmem = t.obj and m.from_seq <= t.seq and (m.past_seq is null or m.past_seq > t.seq)
    and t.error_offset >= m.gmem_offset and t.error_offset - m.gmem_offset < m.len
  where t.errno = 11
),
mappings as materialized (
  select *, _past(gpa, len) as past
  from dma_mappings
  where gpa is not null and len > 0 and _past(gpa, len) is not null and trace in (select trace from refused)
),
-- Mappings and pages meet in the nodes of a tree over all edges and pages in their order, as in _split_ranges.
edges as materialized (
  select trace, edge, row_number() over (partition by trace order by edge) as number
  from (
    select trace, gpa as edge from mappings
    union
    select trace, past from mappings
    union
    select trace, gpa from refused where gpa is not null
  )
),
spans as (
  select m.* exclude (past), a.number as first, b.number as last, unnest(_tree_levels(b.number - a.number)) as level
  from mappings m
  join edges a on a.trace = m.trace and a.edge = m.gpa
  join edges b on b.trace = m.trace and b.edge = m.past
),
nodes as materialized (select *, unnest(_tree_nodes(first, last, level)) as node from spans),
probes as (
  select r.trace, r.seq, r.gpa, e.number, unnest(range((select coalesce(max(level) + 1, 0) from nodes))) as level
  from refused r
  join edges e on e.trace = r.trace and e.edge = r.gpa
),
holders as (
  select p.trace, p.seq, list({api: n.api, obj: n.obj, iova: n.iova + (p.gpa - n.gpa), map_seq: n.map_seq} order by n.map_seq) as held_by
  from probes p
  join nodes n on n.trace = p.trace and n.level = p.level and n.node = p.number >> p.level
  where n.map_seq <= p.seq and (n.unmap_seq is null or n.unmap_seq > p.seq)
  group by p.trace, p.seq
)
select
  r.trace, r.seq, r.ts_ns, r.obj, r."offset", r.len, r.error_offset, r.gpa, coalesce(h.held_by, []) as held_by,
  (s.nth - r.nth)::bigint as retries, r.settled.seq as settled_seq, r.settled.ts_ns::bigint - r.ts_ns::bigint as settled_ns
from refused r
left join holders h on h.trace = r.trace and h.seq = r.seq
left join settled_nth s on s.trace = r.trace and s.seq = r.settled.seq
order by r.trace, r.seq;
