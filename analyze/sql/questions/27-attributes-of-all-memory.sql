-- attributes-of-all-memory: How long does it take to set the attributes of a whole guest, by its size?
--
-- One row per length of call, the longest first: a VMM that makes all memory private at its start has one call per memory slot. A call that changes
-- nothing returns at once, so the first one of each range is what counts.
--
-- @column trace       number of the trace
-- @column op          kvm_set_memory_attributes, or ...2 (in place)
-- @column len         bytes
-- @column to_private  whether it sets private
-- @column calls       calls that succeeded
-- @column first_ns    ns in the first of them; null if unknown
-- @column p50_ns      median, ns; null if unknown
-- @column max_ns      the longest, ns; null if unknown
-- @column ns_per_gib  ns of the longest by GiB; null if unknown
-- @also cvmtrace run swiotlb --strategy attributes-only --memory 16G --param size=8G
select
  trace, op::varchar as op, len, (attrs & 8) <> 0 as to_private, count(*)::ubigint as calls, arg_min(_known_ns(dur_ns), seq) as first_ns,
  quantile_disc(_known_ns(dur_ns), 0.5) as p50_ns, max(_known_ns(dur_ns)) as max_ns, max(_known_ns(dur_ns)) / (len / 1073741824) as ns_per_gib
from events
where op in ('kvm_set_memory_attributes', 'kvm_set_memory_attributes2') and errno = 0 and len > 0
group by trace, op, len, to_private
order by trace, len desc, op, to_private;
