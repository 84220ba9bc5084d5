// A row while it is put together: the columns that are set are there, the others are null.
#pragma once

#include <string.h>

#include "record_area.h"
#include "thread_ring.h"

namespace cvmtrace::preload {

class Row {
 public:
  // `returned` as the kernel returns: -errno if the call failed. The result of a call that did not is 0 unless set, as
  // a new descriptor's number says nothing.
  Row(Op op, uint64_t start_ns, uint64_t end_ns, long returned) {
    memset(&record_, 0, sizeof record_);
    record_.op = op;
    record_.ts_ns = start_ns;
    record_.dur_ns = end_ns - start_ns;
    record_.present = kHasDur;
    if (returned < 0) {
      record_.error = static_cast<uint16_t>(-returned);
    } else {
      record_.present |= kHasResult;
    }
    if (thread.exit_vcpu) Vcpu(thread.exit_vcpu - 1);
  }

  void Obj(uint32_t number) {
    if (number) Set(record_.obj, number, kHasObj);
  }
  void Gpa(uint64_t value) { Set(record_.gpa, value, kHasGpa); }
  void Hva(uint64_t value) { Set(record_.hva, value, kHasHva); }
  void Iova(uint64_t value) { Set(record_.iova, value, kHasIova); }
  void Offset(uint64_t value) { Set(record_.offset, value, kHasOffset); }
  void Len(uint64_t value) { Set(record_.len, value, kHasLen); }
  void Attrs(uint64_t value) { Set(record_.attrs, value, kHasAttrs); }
  void Flags(uint64_t value) { Set(record_.flags, value, kHasFlags); }
  void Vcpu(uint32_t index) { Set(record_.vcpu, static_cast<uint16_t>(index), kHasVcpu); }
  void Result(uint64_t value) { Set(record_.result, static_cast<int64_t>(value), kHasResult); }
  void NoResult() { record_.present &= static_cast<uint16_t>(~kHasResult); }
  // When it was seen is known, not how long it took.
  void NoDuration() { record_.present &= static_cast<uint16_t>(~kHasDur); }

  void Write() const { WriteRecord(record_); }
  const Record& record() const { return record_; }

 private:
  template <typename Column, typename Value>
  void Set(Column& column, Value value, RecordPresent present) {
    column = value;
    record_.present |= present;
  }

  Record record_;
};

}  // namespace cvmtrace::preload
