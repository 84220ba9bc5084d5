-- op_latency: how long each operation took, by its size.
--
-- Quantiles are exact (nearest rank): they come from the histogram of distinct durations, so that memory grows with the number of different
-- durations and not with the number of rows. Failed operations count; rows of unknown duration count in `count` only. What a recording sums up
-- (kvm_run, exit_other) is not here but in `vcpu_exits`.
--
-- @column trace       number of the trace
-- @column op          operation
-- @column size_class  '<=4K', '<=64K', '<=1M', '<=2M', '<=64M' or '>64M' by `len`; 'none' for operations without a length
-- @column size_limit  largest length of the class, bytes; null for 'none' and '>64M'
-- @column count       rows
-- @column errors      rows with an errno
-- @column bytes       sum of their lengths, bytes
-- @column total_ns    sum of their durations, ns; null if none is known
-- @column p50_ns      median duration, ns
-- @column p99_ns      99th percentile of the durations, ns
-- @column max_ns      longest duration, ns
create or replace view op_latency as
with sized as (
  select trace, op, dur_ns, errno, len, _size_class(len) as class
  from events
  where op not in ('mark', 'lost', 'kvm_run', 'exit_other', 'import_trouble')
),
histogram as (
  select trace, op, class, dur_ns, count(*) as n, count(*) filter (where errno <> 0) as errors, sum(len) as bytes
  from sized
  group by trace, op, class, dur_ns
),
ranked as (
  select
    *,
    sum(n) over (partition by trace, op, class, dur_ns is null order by dur_ns) as upto,
    sum(n) over (partition by trace, op, class, dur_ns is null) as timed
  from histogram
)
select
  trace, op,
  ['none', '<=4K', '<=64K', '<=1M', '<=2M', '<=64M', '>64M'][class + 1] as size_class,
  [null, 4096, 65536, 1048576, 2097152, 67108864, null][class + 1]::ubigint as size_limit,
  sum(n)::ubigint as count,
  sum(errors)::ubigint as errors,
  try_cast(coalesce(sum(bytes), 0) as ubigint) as bytes,
  try_cast(sum(dur_ns::uhugeint * n::uhugeint) as ubigint) as total_ns,
  min(dur_ns) filter (where upto * 2 >= timed) as p50_ns,
  min(dur_ns) filter (where upto * 100 >= timed * 99) as p99_ns,
  max(dur_ns) as max_ns
from ranked
group by trace, op, class;
