-- run-sizes-compared: Is the slow start the one with the more fragmented memory: how do the sizes of its runs differ from the fast one's?
--
-- Needs two traces: number 0 is held against number 1. One row per interface and size of run.
--
-- @column api           interface, as in dma_mappings
-- @column run_limit     length that no run passes, bytes (a power of 2)
-- @column runs_0        runs in trace 0
-- @column runs_1        runs in trace 1
-- @column share_0       part of the bytes mapped in trace 0 that such runs have
-- @column share_1       part of the bytes mapped in trace 1
-- @column difference    share_1 - share_0
-- @also cvmtrace sql FAST SLOW --query run-sizes-compared
with sizes as (
  select
    api, run_limit, coalesce(sum(runs) filter (where trace = 0), 0) as runs_0, coalesce(sum(runs) filter (where trace = 1), 0) as runs_1,
    coalesce(sum(bytes) filter (where trace = 0), 0) as bytes_0, coalesce(sum(bytes) filter (where trace = 1), 0) as bytes_1
  from run_sizes
  where trace in (0, 1)
  group by api, run_limit
)
select
  api, run_limit, runs_0::ubigint as runs_0, runs_1::ubigint as runs_1,
  coalesce(bytes_0 / nullif(sum(bytes_0) over (partition by api), 0), 0) as share_0,
  coalesce(bytes_1 / nullif(sum(bytes_1) over (partition by api), 0), 0) as share_1, share_1 - share_0 as difference
from sizes
order by api, run_limit;
