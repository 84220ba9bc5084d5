-- memory_over_time: how much guest memory was private, shared, really held and within reach of devices, after each row that changed it.
--
-- Memory is private or shared from the attribute call that made it so (in a trace without attribute calls: from the exit that asked for it); before the
-- first one it is neither. It is held on a side from an allocation, an access or a DMA mapping there until a hole is punched or its pages are given back
-- (madvise DONTNEED on anonymous memory, REMOVE); a read of anonymous memory holds nothing, as it maps the zero page. gmem_* is the private side; ram_* is
-- the side that the object's `ram_create` says, shared without it; guest_touch is the side of its object. Only calls that succeeded count. What a call
-- names by host address or offset is found in the guest through the slots of that moment (`memslots`); what no slot has is not the guest's.
--
-- @column trace               number of the trace
-- @column seq                 row after which it is so
-- @column ts_ns               its start, ns; null if unknown
-- @column private_bytes       memory that is private, bytes
-- @column shared_bytes        memory that is shared, bytes
-- @column private_held_bytes  memory held on the private side, bytes
-- @column shared_held_bytes   memory held on the shared side, bytes
-- @column doubly_held_bytes   memory held on both sides, bytes
-- @column dma_mapped_bytes    sum of all live DMA mappings, bytes; what two containers map counts twice
-- @column pinned_bytes        memory that they pin, bytes, each page once; an IOAS pins only when something is attached to it
-- @column live_mappings       DMA mappings that are live
create or replace view memory_over_time as
select
  trace, seq, ts_ns, private_bytes, shared_bytes, private_held_bytes, shared_held_bytes, doubly_held_bytes, dma_mapped_bytes, pinned_bytes, live_mappings
from _memory;
