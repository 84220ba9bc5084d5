-- memslots: which guest memory each KVM memory slot stood for, and from where to where in the trace.
--
-- A slot lives from the KVM_SET_USER_MEMORY_REGION(2) that made it to the one that deletes, moves or replaces it, or to the close of its VM.
-- What a call names by host address or by offset in a guest_memfd is found in the guest through the slots that were live at that call.
--
-- @column trace        number of the trace
-- @column vm           number of the VM in the trace; null if the trace does not tell VMs apart
-- @column slot         slot number, with the address space in bits 16 to 31
-- @column gpa          first byte, guest-physical
-- @column len          bytes
-- @column hva          where the VMM has it mapped (the shared side); null if unknown
-- @column gmem         number of the guest_memfd behind it (the private side); null without one
-- @column gmem_offset  where the slot begins in the guest_memfd, bytes; null without one
-- @column flags        KVM_MEM_* as passed
-- @column from_seq     row that made it
-- @column past_seq     row that ended it; null if it lived to the end of the trace
-- @column from_ns      ts_ns of from_seq; null if unknown
-- @column past_ns      ts_ns of past_seq; null if unknown
create or replace view memslots as
select trace, vm, slot, gpa, len, hva, gmem, gmem_offset, flags, from_seq, past_seq, from_ns, past_ns
from _memslots;
