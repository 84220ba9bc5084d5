/** The VMs of a trace by the calls that made them: what a recording or a log knows of a guest, as its metadata was written before. */
import type { Analysis } from '../db/analysis.ts';

export interface GuestReport {
  /** Number of the VM in the trace; null if the log does not tell VMs apart. */
  readonly vm: number | null;
  /** "default", "sw-protected", "sev", "sev-es", "snp", "tdx"; "type N" for another; null if its making was not seen. */
  readonly vmType: string | null;
  /** That were made; null if the trace does not say whose they are. */
  readonly vcpus: number | null;
  /** Most memory that its slots had at one time, bytes. */
  readonly slotBytes: number;
}

/** KVM_X86_*_VM of linux/kvm.h. */
const VM_TYPES = ['default', 'sw-protected', 'sev', 'sev-es', 'snp', 'tdx'];

/** Slots by the low half of `attrs`; a slot of length 0 is taken away. */
const GUESTS = `
with changes as (
  select seq, obj, len::bigint - coalesce(lag(len::bigint) over (partition by obj, attrs & 4294967295 order by seq), 0) as added
  from events
  where trace = $trace and op in ('kvm_set_user_memory_region', 'kvm_set_user_memory_region2') and errno = 0 and _past(0, len) is not null
),
sizes as (
  select obj, max(bytes)::double as bytes
  from (select obj, sum(added) over (partition by obj order by seq rows unbounded preceding) as bytes from changes)
  group by obj
),
vms as (select obj, any_value(attrs)::double as type from events where trace = $trace and op = 'kvm_create_vm' and errno = 0 group by obj),
vcpus as (select count(*)::double as made from events where trace = $trace and op = 'kvm_create_vcpu' and errno = 0)
select coalesce(v.obj, s.obj)::double, v.type, (select made from vcpus), coalesce(s.bytes, 0)
from vms v full join sizes s on s.obj is not distinct from v.obj
order by 1`;

export async function guestsOf(analysis: Analysis, trace: number): Promise<GuestReport[]> {
  const { rows } = await analysis.query(GUESTS.replaceAll('$trace', String(trace)));
  return rows.map(([vm, type, vcpus, bytes]) => ({
    vm: typeof vm === 'number' ? vm : null,
    vmType: typeof type === 'number' ? (VM_TYPES[type] ?? `type ${type}`) : null,
    vcpus: rows.length === 1 ? Number(vcpus) : null,
    slotBytes: Number(bytes),
  }));
}
