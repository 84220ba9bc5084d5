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
-- A block counts for the first range that is in it: ranges are in order and do not overlap. Shared ones are counted once more by themselves.
counted as (
  select trace, vm, len, shared_only, last_block + 1 - greatest(first_block, coalesce(max(last_block + 1) over earlier, 0)) as new_blocks
  from (select *, unnest(if(is_shared, [false, true], [false])) as shared_only from ranges)
  window earlier as (partition by trace, vm, shared_only order by first_block, last_block rows between unbounded preceding and 1 preceding)
)
select
  trace, vm, (sum(new_blocks) filter (where not shared_only))::ubigint as blocks,
  coalesce(sum(new_blocks) filter (where shared_only), 0)::ubigint as shared_blocks,
  coalesce(sum(len) filter (where shared_only), 0)::ubigint as shared_bytes
from counted
group by trace, vm
order by trace, vm;
