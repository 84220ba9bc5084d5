-- implicit-conversions: Which memory did the guest just use on its other side, without asking for it before?
--
-- Such a fault can be a bug of the guest, or memory that was left on the other side by the kernel before (kexec).
--
-- @column trace        number of the trace
-- @column seq          the memory fault
-- @column ts_ns        its start, ns; null if unknown
-- @column vcpu         vCPU; null if unknown
-- @column vm           number of the VM; null if the trace does not tell VMs apart
-- @column gpa          first byte, guest-physical
-- @column len          bytes
-- @column direction    'to_private' or 'to_shared'
-- @column stall_ns     ns that the vCPU stood still; null if unknown
-- @column proof        rows that prove it
-- @column explanation  one sentence
select h.trace, h.seq, h.ts_ns, c.vcpu, h.vm, h.gpa, h.len, c.direction, c.stall_ns, h.proof, h.explanation
from hazards h
left join _conversions c on c.trace = h.trace and c.seq = h.seq
where h.kind = 'implicit_conversion'
order by h.trace, h.seq;
