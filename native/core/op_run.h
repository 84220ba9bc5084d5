// What a handler sees of the operation that it executes. A handler checks the operands, and puts the kernel call, and
// nothing else, in Time().
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "batch.h"
#include "clock.h"
#include "objects.h"

namespace cvmtrace {

class OpRun {
 public:
  OpRun(Batch& batch, Objects& objects, const std::atomic<bool>& cancelled, uint64_t clock_base_ns)
      : batch_(batch), objects_(objects), cancelled_(cancelled), clock_base_ns_(clock_base_ns) {}

  Objects& objects() { return objects_; }
  const Objects& objects() const { return objects_; }
  const std::atomic<bool>& cancelled() const { return cancelled_; }

  void Select(size_t row) { row_ = row; }

  bool Has(Present operands) const { return (batch_.present[row_] & operands) == operands; }
  uint32_t obj() const { return batch_.obj[row_]; }
  uint64_t gpa() const { return batch_.gpa[row_]; }
  uint64_t offset() const { return batch_.offset[row_]; }
  uint64_t len() const { return batch_.len[row_]; }
  uint64_t attrs() const { return batch_.attrs[row_]; }
  uint64_t flags() const { return batch_.flags[row_]; }
  uint32_t peer() const { return batch_.peer[row_]; }

  // Runs `call`, which returns below 0 and sets errno if it fails, and keeps when it started, how long it took and what
  // came of it.
  template <typename Call>
  bool Time(Call&& call) {
    const uint64_t start = NowNs();
    const int64_t returned = call();
    // The clock is read through the vDSO, which leaves errno alone.
    end_ns_ = NowNs();
    batch_.ts_ns[row_] = start - clock_base_ns_;
    batch_.dur_ns[row_] = end_ns_ - start;
    if (returned < 0) [[unlikely]] {
      batch_.error[row_] = static_cast<uint16_t>(errno);
      ClearResult();
      return false;
    }
    batch_.result[row_] = returned;
    return true;
  }

  // The operation is over without a kernel call: 0, or the errno that says what is wrong with its operands.
  void Skip(int error) {
    end_ns_ = NowNs();
    batch_.ts_ns[row_] = end_ns_ - clock_base_ns_;
    batch_.error[row_] = static_cast<uint16_t>(error);
    ClearResult();
  }

  void SetResult(int64_t result) {
    batch_.result[row_] = result;
    batch_.present[row_] |= present::result;
  }
  void SetHva(uint64_t hva) {
    batch_.hva[row_] = hva;
    batch_.present[row_] |= present::hva;
  }

  // When the operation was over, ns of the clock.
  uint64_t end_ns() const { return end_ns_; }

 private:
  void ClearResult() { batch_.present[row_] &= static_cast<Present>(~present::result); }

  Batch& batch_;
  Objects& objects_;
  const std::atomic<bool>& cancelled_;
  const uint64_t clock_base_ns_;
  size_t row_ = 0;
  uint64_t end_ns_ = 0;
};

}  // namespace cvmtrace
