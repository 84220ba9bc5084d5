-- guest_requests: what the guest asked for, where KVM makes several exits of one request, or one exit of several.
--
-- A TD asks for a range of any length, and KVM cuts it (TDX_MAP_GPA_MAX_LEN): one exit for each 2 MiB from its start, the last one shorter. Exits
-- of one vCPU that follow each other so, with no page size given, are one row. A guest that asks in steps of 2 MiB itself looks the same, so this
-- is done unless the VM is known to be none of TDX's (kvm_create_vm; type 0 has no private memory, its exits imitate another VM's).
-- An SNP guest sends a list of page-state entries, and KVM makes one exit of adjacent entries of one size (snp_do_psc): entries is their number.
--
-- @column trace       number of the trace
-- @column seq         seq of the first exit
-- @column past_seq    seq after the last exit
-- @column ts_ns       start of the first exit, ns; null if unknown
-- @column vcpu        vCPU; null if unknown
-- @column trigger     'exit_map_gpa_range', or 'exit_memory_fault' where the guest just used the memory
-- @column gpa         first byte, guest-physical; null if unknown
-- @column len         bytes
-- @column direction   'to_private' or 'to_shared'; null if unknown
-- @column exits       exits that it took
-- @column page_size   page size that the guest prefers, bytes (bits 3:0 of the hypercall's attributes); null if none is known
-- @column entries     page-state entries in it; null if the VM is none of SNP's, or it took several exits
-- @column slot_bytes  bytes of it that a memory slot had; null if unknown
-- @column memory      'ram' if a slot had all of it, 'hole' if none of it (MMIO), 'partly'; null if unknown
-- @column stall_ns    ns that the vCPU stood still in all its exits; null if unknown
-- @column outcome     'failed' if an exit of it failed, 'ignored' if no exit converted anything, else 'ok'
-- @example select memory, direction, count(*), sum(exits) from guest_requests group by all
create or replace view guest_requests as
with types as (
  select trace, obj as vm, max(attrs) as vm_type
  from events
  where op = 'kvm_create_vm' and errno = 0
  group by trace, obj
),
bits as (select trace, seq, coalesce(attrs, 0) & 15 as size_bits from events where op = 'exit_map_gpa_range'),
exits as (
  select c.trace, c.seq, c.ts_ns, c.vcpu, c.trigger, c.gpa, c.len, c.direction, c.stall_ns, c.outcome, b.size_bits, r.slot_bytes, t.vm_type
  from _conversions c
  left join bits b on b.trace = c.trace and b.seq = c.seq
  left join _requests r on r.trace = c.trace and r.seq = c.seq
  left join types t on t.trace = c.trace and t.vm = r.vm
  where c.trigger <> 'vmm'
),
compared as (
  select
    *,
    not coalesce(
      size_bits = 0 and lag(size_bits) over before = 0 and lag(len) over before = 2097152 and len <= 2097152
      and lag(gpa) over before + 2097152 = gpa and lag(direction) over before = direction and lag(outcome) over before <> 'failed'
      and (vm_type is null or vm_type in (0, 5)), false
    ) as starts_request
  from (select * replace (if(gpa < 4611686018427387904, gpa, null) as gpa) from exits)
  window before as (partition by trace, vcpu order by seq)
),
numbered as (
  select *, sum(starts_request::integer) over (partition by trace, vcpu order by seq rows unbounded preceding) as request
  from compared
),
requests as (
  select
    trace, min(seq) as seq, max(seq) + 1 as past_seq, arg_min(ts_ns, seq) as ts_ns, vcpu, any_value(trigger) as trigger,
    min(gpa) as gpa, try_cast(sum(len) as ubigint) as len, any_value(direction) as direction, count(*)::ubigint as exits,
    any_value(size_bits) as size_bits, any_value(vm_type) as vm_type,
    if(count(slot_bytes) = count(*), try_cast(sum(slot_bytes) as ubigint), null) as slot_bytes, try_cast(sum(stall_ns) as bigint) as stall_ns,
    case when bool_or(outcome = 'failed') then 'failed' when bool_and(outcome = 'ignored') then 'ignored' else 'ok' end as outcome
  from numbered
  group by trace, vcpu, request
)
select
  trace, seq, past_seq, ts_ns, vcpu, trigger, gpa, len, direction, exits,
  case size_bits when 0 then 4096 when 1 then 2097152 when 2 then 1073741824 end::ubigint as page_size,
  if(exits = 1 and (vm_type is null or vm_type = 4), len // page_size, null)::ubigint as entries,
  slot_bytes, case when slot_bytes = 0 then 'hole' when slot_bytes < len then 'partly' when slot_bytes is not null then 'ram' end as memory,
  stall_ns, outcome
from requests;
