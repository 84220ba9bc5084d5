-- vcpu_exits: how often each vCPU left KVM_RUN and why, what that took, and how long it ran in between.
--
-- A recording has the exits that ask for a conversion as rows of their own and sums up all others (`exit_other`) about each half second; their
-- quantiles are therefore not known, sums and rates are. One row per reason, and one without a reason for all of the vCPU.
--
-- @column trace       number of the trace
-- @column pid         process; null if unknown
-- @column vcpu        vCPU
-- @column reason      KVM_EXIT_* of linux/kvm.h; null for KVM_RUN that failed (a signal, mostly), and for the row of all
-- @column name        the reason's name, 'KVM_RUN failed', 'reason N' for one without a name here, or 'all'
-- @column exits       how often; for 'all' how often KVM_RUN returned
-- @column per_second  exits by second of the vCPU's time in the trace
-- @column handled_ns  ns from the exits until the vCPU ran again; null if unknown
-- @column guest_ns    ns inside KVM_RUN, only in the row 'all'; null if unknown
create or replace macro _exit_reason(reason) as coalesce(
  map {
    0: 'unknown', 1: 'exception', 2: 'io', 3: 'hypercall', 4: 'debug', 5: 'hlt', 6: 'mmio', 7: 'irq_window_open', 8: 'shutdown', 9: 'fail_entry',
    10: 'intr', 11: 'set_tpr', 12: 'tpr_access', 16: 'nmi', 17: 'internal_error', 24: 'system_event', 26: 'ioapic_eoi', 27: 'hyperv',
    29: 'x86_rdmsr', 30: 'x86_wrmsr', 31: 'dirty_ring_full', 32: 'ap_reset_hold', 33: 'x86_bus_lock', 34: 'xen', 37: 'notify', 39: 'memory_fault',
    40: 'tdx'
  }[reason],
  'reason ' || reason
);

create or replace view vcpu_exits as
with exits as (
  select trace, pid, vcpu, attrs as reason, coalesce(result, 1) as exits, dur_ns, null::ubigint as guest_ns
  from events
  where op = 'exit_other' and vcpu is not null
  union all
  select trace, pid, vcpu, if(op = 'exit_memory_fault', 39, 3), 1, dur_ns, null
  from events
  where op in ('exit_map_gpa_range', 'exit_memory_fault') and vcpu is not null
  union all
  select trace, pid, vcpu, 18446744073709551615, coalesce(result, 1), null, dur_ns
  from events
  where op = 'kvm_run' and vcpu is not null
),
spans as (
  select trace, pid, vcpu, max(coalesce(_past(_known_ns(ts_ns), _known_ns(dur_ns)), _known_ns(ts_ns))) - min(_known_ns(ts_ns)) as span_ns
  from events
  where vcpu is not null
  group by trace, pid, vcpu
)
select
  e.trace, e.pid, e.vcpu, nullif(reason, 18446744073709551615) as reason,
  case when reason is null then 'KVM_RUN failed' when reason = 18446744073709551615 then 'all' else _exit_reason(reason) end as name,
  try_cast(sum(exits) as ubigint) as exits,
  sum(exits) * 1e9 / nullif(any_value(span_ns), 0) as per_second,
  try_cast(sum(_known_ns(dur_ns)) as ubigint) as handled_ns,
  try_cast(sum(_known_ns(guest_ns)) as ubigint) as guest_ns
from exits e
left join spans s on s.trace = e.trace and s.pid is not distinct from e.pid and s.vcpu = e.vcpu
group by e.trace, e.pid, e.vcpu, reason;
