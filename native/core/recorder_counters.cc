#include "recorder_counters.h"

#include <utility>

namespace cvmtrace {

RecordedRow RowOfVcpu(const VcpuSlot& slot, Op op, uint64_t ts_ns) {
  RecordedRow row{};
  row.ts_ns = ts_ns;
  row.op = op;
  row.pid = slot.pid.load(std::memory_order_relaxed);
  row.tid = slot.tid.load(std::memory_order_relaxed);
  row.obj = slot.obj.load(std::memory_order_relaxed);
  row.present = kHasObj;
  if (row.pid != 0) row.present |= kHasPid;
  if (row.tid != 0) row.present |= kHasTid;
  const uint32_t vcpu = slot.vcpu.load(std::memory_order_relaxed);
  if (vcpu <= UINT16_MAX) {
    row.vcpu = static_cast<uint16_t>(vcpu);
    row.present |= kHasVcpu;
  }
  return row;
}

uint64_t VcpuCounters::Sample(uint64_t from_ns, uint64_t now_ns, bool running, bool last, const Emit& emit) {
  uint64_t damaged = 0;
  // How much a counter grew since it was taken; one that went backwards begins anew.
  const auto take = [&](const std::atomic<uint64_t>& counter, uint64_t& before) {
    const uint64_t now = counter.load(std::memory_order_relaxed);
    const uint64_t growth = now - std::exchange(before, now);
    if (growth <= INT64_MAX) return growth;
    ++damaged;
    return uint64_t{0};
  };

  // These two are read while the vCPU runs on, so that a stay may be counted twice: as under way, and as over. The sum
  // is too large then, and stands still until it is right again.
  const uint64_t entered_ns = slot_.entered_ns.load(std::memory_order_acquire);
  uint64_t inside_ns = slot_.run_ns.load(std::memory_order_relaxed);
  if (running && entered_ns != 0 && entered_ns < now_ns) inside_ns += now_ns - entered_ns;
  const uint64_t inside = inside_ns > inside_ns_ ? inside_ns - inside_ns_ : 0;
  inside_ns_ += inside;
  const uint64_t runs = take(slot_.runs, runs_);
  if (runs > 0 || inside > 0) {
    RecordedRow row = RowOfVcpu(slot_, Op::kvm_run, from_ns);
    row.result = static_cast<int64_t>(runs);
    row.dur_ns = inside;
    row.present |= kHasResult | kHasDur;
    emit(row, "");
  }

  for (uint32_t reason = 0; reason < kCounters; ++reason) {
    const uint64_t count = take(slot_.count[reason], count_[reason]);
    pending_out_ns_[reason] += take(slot_.out_ns[reason], out_ns_[reason]);
    if (count == 0 && !(last && pending_out_ns_[reason] > 0)) continue;
    RecordedRow row = RowOfVcpu(slot_, Op::exit_other, from_ns);
    row.result = static_cast<int64_t>(count);
    row.dur_ns = std::exchange(pending_out_ns_[reason], 0);
    row.present |= kHasResult | kHasDur;
    if (reason < kExitReasons) {
      row.attrs = reason;
      row.present |= kHasAttrs;
    }
    emit(row, reason == kExitOther ? "reason above 61" : reason == kExitFailed ? "KVM_RUN failed" : "");
  }
  return damaged;
}

}  // namespace cvmtrace
