-- map-rates: How long does a start spend in each kind of DMA map call, and how many bytes a second do they map?
--
-- Open a fast and a slow recording together: one row per trace and call. The longest call is where to look first.
--
-- @column trace       number of the trace
-- @column op          call
-- @column calls       calls of known duration that succeeded
-- @column bytes       bytes that they mapped
-- @column total_ns    ns in them
-- @column gib_per_s   GiB mapped a second of them; null if they took no time
-- @column p50_ns      median, ns
-- @column p99_ns      99th percentile, ns
-- @column longest_ns  the longest, ns
-- @column longest_seq its row
-- @also cvmtrace compare FAST SLOW
select
  trace, op::varchar as op, count(*)::ubigint as calls, try_cast(sum(len) as ubigint) as bytes, sum(dur_ns)::ubigint as total_ns,
  sum(len) / 1073741824 / nullif(sum(dur_ns) / 1e9, 0) as gib_per_s, quantile_disc(dur_ns, 0.5) as p50_ns, quantile_disc(dur_ns, 0.99) as p99_ns,
  max(dur_ns) as longest_ns, arg_max(seq, (dur_ns, -seq::hugeint)) as longest_seq
from (select * replace (_known_ns(dur_ns) as dur_ns) from events)
where op in ('vfio_map_dma', 'iommufd_ioas_map', 'iommufd_ioas_map_file', 'iommufd_ioas_copy') and errno = 0 and dur_ns is not null
group by trace, op
order by trace, total_ns desc;
