-- events: the rows of all open traces, one per call, exit, access or mark.
--
-- It reads `_trace_rows`, which cvmtrace makes of the traces it opens. In the duckdb shell make it from a trace exported to Parquet, then read
-- this file and those of the views you want, in this order: ranges.sql, units.sql, conversions.sql, phases.sql, then any.
--   create view _trace_rows as select 0 as trace, * from 'trace.parquet';
--   .read events.sql
-- Not those that tell what was live when (page_stays, dma_mappings, memslots, hazards, and all over them): SQL cannot compute that in bounded
-- time, so cvmtrace does, into tables. They are in a database that `cvmtrace sql TRACE --database OUT.duckdb` writes, with everything else.
--
-- @column trace      number of the trace, from 0 in the order they were opened; `traces` has their paths
-- @column seq        order of capture, dense from 0 in each trace
-- @column ts_ns      start, ns since the trace's clock base; null if unknown
-- @column dur_ns     ns in the call, for an exit ns until the vCPU ran again; null if unknown
-- @column pid        process; null if unknown
-- @column tid        thread; null if unknown
-- @column vcpu       vCPU index; null if it concerns none
-- @column op         what was done, in the kernel's own names
-- @column obj        number of the object (VM, guest_memfd, mapping ...) within the trace; null if none
-- @column gpa        guest-physical address, bytes; null if none
-- @column hva        host-virtual address, bytes; null if none
-- @column iova       I/O-virtual address, bytes; null if none
-- @column offset     offset in the object's file or mapping, bytes; null if none
-- @column len        bytes; for `lost` the number of lost events
-- @column attrs      attributes as passed
-- @column flags      flags as passed
-- @column result     what the call returned or wrote back; for an exit what the guest was told, 0 = done
-- @column errno      0 = success
-- @column detail     name of a mark, side of a ram object, text of a row of unknown kind
-- @column lag_ns     ns that a paced operation started too late; null if it was not paced
create or replace view events as
select trace, seq, ts_ns, dur_ns, pid, tid, vcpu, op, obj, gpa, hva, iova, "offset", len, attrs, flags, result, errno, detail, lag_ns
from _trace_rows;

-- Only damaged rows have numbers this large. The other views take them for unknown, so that sums and differences of the rest stay whole:
-- a time or duration of 2^53 ns (104 days) or more, and a range that begins or is as long as 2^62 bytes (a guest has at most 2^52).
create or replace macro _known_ns(ns) as if(ns < 9007199254740992, ns, null);

-- First byte (or ns) after a range; null if the range is damaged.
create or replace macro _past(start, size) as if(start < 4611686018427387904 and size < 4611686018427387904, start + size, null);

-- A binary tree over the numbers from 0: node n of level k has those from n * 2^k on, 2^k of them. A span of numbers is cut into at most two nodes
-- of each level, so that whether a number is in one of many spans is a matter of the one node of each level that has it.
-- Levels that a span of so many numbers can have nodes of.
create or replace macro _tree_levels(count) as if(count > 0, range(length(bin(count))), []);

-- Its nodes of a level; the span ends before `past`.
create or replace macro _tree_nodes(first, past, level) as if(
  (first + (1::bigint << level) - 1) >> level < past >> level,
  list_filter(
    [
      if(((first + (1::bigint << level) - 1) >> level) % 2 = 1, (first + (1::bigint << level) - 1) >> level, null),
      if((past >> level) % 2 = 1, (past >> level) - 1, null)
    ],
    lambda node: node is not null
  ),
  []
);
