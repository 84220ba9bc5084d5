// What a vCPU's counters come to in a period, as rows.
#pragma once

#include <stdint.h>

#include <functional>

#include "../preload/record_area.h"
#include "recorder_batch.h"

namespace cvmtrace {

// One vCPU's, from the time that its slot was seen.
class VcpuCounters {
 public:
  // Text of a row's detail follows it, "" for none.
  using Emit = std::function<void(const RecordedRow& row, const char* detail)>;

  explicit VcpuCounters(const VcpuSlot& slot) : slot_(slot) {}

  // Emits what happened since the last call: a row `kvm_run`, if the vCPU ran or returned, and a row `exit_other` per
  // reason that exits had. They begin at `from_ns`; a KVM_RUN that is under way counts up to `now_ns`, unless its
  // thread is gone (`running` is false). The time after an exit is known when the vCPU runs again, thus often with the
  // next period's exits of that reason, or at the `last` call.
  // Returns how many counters were nonsense: went backwards.
  uint64_t Sample(uint64_t from_ns, uint64_t now_ns, bool running, bool last, const Emit& emit);

 private:
  static constexpr uint32_t kCounters = sizeof(VcpuSlot::count) / sizeof(VcpuSlot::count[0]);

  const VcpuSlot& slot_;
  // What was taken before.
  uint64_t runs_ = 0;
  uint64_t inside_ns_ = 0;
  uint64_t count_[kCounters] = {};
  uint64_t out_ns_[kCounters] = {};
  uint64_t pending_out_ns_[kCounters] = {};  // taken, not emitted
};
static_assert(kExitFailed < sizeof(VcpuSlot::count) / sizeof(VcpuSlot::count[0]));

// A row that says only where it comes from: times are 0, all else is absent.
RecordedRow RowOfVcpu(const VcpuSlot& slot, Op op, uint64_t ts_ns);

}  // namespace cvmtrace
