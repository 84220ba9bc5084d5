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
-- Mappings and pages meet in the cells of the mappings' size, as in _split_ranges.
filed as (
  select *, unnest(list_distinct([gpa >> cell_bits, (_past(gpa, len) - 1) >> cell_bits])) as cell
  from (select *, _cell_bits(len) as cell_bits from dma_mappings where gpa is not null and len > 0 and _past(gpa, len) is not null)
),
probes as materialized (
  select r.trace, r.seq, r.gpa, s.cell_bits, r.gpa >> s.cell_bits as cell
  from refused r
  join (select distinct trace, cell_bits from filed) s on s.trace = r.trace
  where r.gpa is not null
),
holders as (
  select p.trace, p.seq, list({api: f.api, obj: f.obj, iova: f.iova + (p.gpa - f.gpa), map_seq: f.map_seq} order by f.map_seq) as held_by
  from probes p
  join filed f on f.trace = p.trace and f.cell_bits = p.cell_bits and f.cell = p.cell
  where f.gpa <= p.gpa and p.gpa < _past(f.gpa, f.len) and f.map_seq <= p.seq and (f.unmap_seq is null or f.unmap_seq > p.seq)
  group by p.trace, p.seq
)
select
  r.trace, r.seq, r.ts_ns, r.obj, r."offset", r.len, r.error_offset, r.gpa, coalesce(h.held_by, []) as held_by,
  (s.nth - r.nth)::bigint as retries, r.settled.seq as settled_seq, r.settled.ts_ns::bigint - r.ts_ns::bigint as settled_ns
from refused r
left join holders h on h.trace = r.trace and h.seq = r.seq
left join settled_nth s on s.trace = r.trace and s.seq = r.settled.seq
order by r.trace, r.seq;
