-- shared-pages: Which pages has the guest made shared, as it is at the end of the trace?
--
-- For another moment ask page_state_at(ns) or page_state_at_seq(seq), which have the private ones too.
--
-- @column trace         number of the trace
-- @column vm            number of the VM; null if the trace does not tell VMs apart
-- @column gpa           first byte, guest-physical
-- @column len           bytes
-- @column pages         pages of 4 KiB
-- @column private_held  whether memory is held on the private side as well
-- @column shared_held   whether memory is held on the shared side
-- @column dma_mappings  DMA mappings that cover it
select trace, vm, gpa, len, pages_of(len) as pages, private_held, shared_held, dma_mappings
from page_state_at_seq(18446744073709551615)
where side = 'shared'
order by trace, vm, gpa;
