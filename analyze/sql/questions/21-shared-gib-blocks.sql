-- shared-gib-blocks: In how many blocks of 1 GiB is any page shared at the end, so that the whole block cannot be treated as one?
--
-- One row per VM. SNP's RMPOPT, and any table with one entry per GiB, gains nothing for such a block: how much memory keeps it so is the last column.
--
-- @column trace          number of the trace
-- @column vm             number of the VM; null if the trace does not tell VMs apart
-- @column blocks         blocks of 1 GiB with memory that was converted at all
-- @column shared_blocks  those with any shared page
-- @column shared_bytes   shared memory, bytes
-- @limit How long RMPOPT takes on each CPU is inside the kernel and no event of a trace.
with ranges as (
  select trace, vm, gpa >> 30 as first_block, (_past(gpa, len) - 1) >> 30 as last_block, len, side = 'shared' as is_shared
  from page_state_at_seq(18446744073709551615)
  where side is not null
),
-- A block counts for the first range that is in it: ranges are in order and do not overlap.
counted as (
  select
    *,
    last_block + 1 - greatest(first_block, coalesce(max(last_block + 1) over (partition by trace, vm order by first_block, last_block rows between unbounded preceding and 1 preceding), 0)) as new_blocks
  from ranges
),
shared as (
  select
    trace, vm, len,
    last_block + 1 - greatest(first_block, coalesce(max(last_block + 1) over (partition by trace, vm order by first_block, last_block rows between unbounded preceding and 1 preceding), 0)) as new_blocks
  from ranges
  where is_shared
),
all_blocks as (select trace, vm, sum(new_blocks) as blocks from counted group by trace, vm),
shared_blocks as (select trace, vm, sum(new_blocks) as blocks, sum(len) as bytes from shared group by trace, vm)
select
  a.trace, a.vm, a.blocks::ubigint as blocks, coalesce(s.blocks, 0)::ubigint as shared_blocks, coalesce(s.bytes, 0)::ubigint as shared_bytes
from all_blocks a
left join shared_blocks s on s.trace = a.trace and s.vm is not distinct from a.vm
order by a.trace, a.vm;
