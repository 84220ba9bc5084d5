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
  OpRun(Objects& objects, const std::atomic<bool>& cancelled, uint64_t clock_base_ns)
      : objects_(objects), cancelled_(cancelled), clock_base_ns_(clock_base_ns) {}

  Objects& objects() { return objects_; }
  const Objects& objects() const { return objects_; }
  const std::atomic<bool>& cancelled() const { return cancelled_; }

  void Select(OpRow& row) { row_ = &row; }

  bool Has(Present operands) const { return (row_->present & operands) == operands; }
  uint32_t obj() const { return row_->obj; }
  uint64_t gpa() const { return row_->gpa; }
  uint64_t offset() const { return row_->offset; }
  uint64_t len() const { return row_->len; }
  uint64_t attrs() const { return row_->attrs; }
  uint64_t flags() const { return row_->flags; }
  uint64_t iova() const { return row_->iova; }
  uint32_t peer() const { return row_->peer; }
  uint16_t vcpu() const { return row_->vcpu; }

  // The object of that number and kind, or nullptr. A batch mostly works on one object, and after a system call the
  // table of all is no longer in the cache.
  Object* Find(uint32_t number, ObjectKind kind) {
    if (!last_object_ || number != last_number_ || last_object_->kind != kind) {
      last_object_ = objects_.Find(number, kind);
      last_number_ = number;
    }
    return last_object_;
  }

  // Executor's thread. Closes the object and frees its number.
  void Remove(uint32_t number) {
    if (number == last_number_) last_object_ = nullptr;
    objects_.Remove(number);
  }

  // Runs `call`, which returns below 0 and sets errno if it fails, and keeps when it started, how long it took and what
  // came of it.
  template <typename Call>
  bool Time(Call&& call) {
    const uint64_t start = NowNs();
    const int64_t returned = call();
    // The clock is read through the vDSO, which leaves errno alone.
    end_ns_ = NowNs();
    row_->ts_ns = start - clock_base_ns_;
    row_->dur_ns = end_ns_ - start;
    if (returned < 0) [[unlikely]] {
      row_->error = static_cast<uint16_t>(errno);
      ClearResult();
      return false;
    }
    row_->result = returned;
    return true;
  }

  // The operation is over without a kernel call: 0, or the errno that says what is wrong with its operands.
  void Skip(int error) {
    end_ns_ = NowNs();
    row_->ts_ns = end_ns_ - clock_base_ns_;
    row_->error = static_cast<uint16_t>(error);
    ClearResult();
  }

  void SetResult(int64_t result) {
    row_->result = result;
    row_->present |= present::result;
  }
  void SetHva(uint64_t hva) {
    row_->hva = hva;
    row_->present |= present::hva;
  }

  void SetIova(uint64_t iova) {
    row_->iova = iova;
    row_->present |= present::iova;
  }
  void SetLen(uint64_t len) {
    row_->len = len;
    row_->present |= present::len;
  }
  void ClearResult() { row_->present &= static_cast<Present>(~present::result); }

  // When the operation was over, ns of the clock.
  uint64_t end_ns() const { return end_ns_; }

 private:
  Objects& objects_;
  const std::atomic<bool>& cancelled_;
  const uint64_t clock_base_ns_;
  OpRow* row_ = nullptr;
  uint64_t end_ns_ = 0;
  Object* last_object_ = nullptr;
  uint32_t last_number_ = 0;
};

}  // namespace cvmtrace
