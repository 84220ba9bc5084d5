// Rows on their way from recorded processes to JavaScript.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../preload/record_area.h"
#include "batch.h"

namespace cvmtrace {

// Rows of one batch at most: those of a batch of the trace (capture/trace/batch.ts).
inline constexpr size_t kRecordedBatchRows = 65536;

// A record out of a ring, checked, or a row of the recorder's own.
struct RecordedRow {
  uint64_t ts_ns;  // CLOCK_MONOTONIC
  uint64_t dur_ns;
  uint64_t gpa, hva, iova, offset, len, attrs, flags;
  int64_t result;
  uint32_t obj, pid, tid;  // pid and tid are 0 where they are not known
  uint32_t text;           // which of the texts is its detail; 0 for none
  uint16_t vcpu, error;
  uint16_t present;  // RecordPresent
  Op op;
};

// Rows in their final order, with the details of those that have any.
struct RecordedRows {
  std::vector<RecordedRow> rows;
  std::vector<std::pair<uint32_t, std::string>> details;  // by place in `rows`
};

// Nullable columns: name, type, which bit of `present` says that a row has it.
#define CVMTRACE_RECORDED_COLUMNS(X) \
  X(dur_ns, uint64_t, kHasDur)       \
  X(gpa, uint64_t, kHasGpa)          \
  X(hva, uint64_t, kHasHva)          \
  X(iova, uint64_t, kHasIova)        \
  X(offset, uint64_t, kHasOffset)    \
  X(len, uint64_t, kHasLen)          \
  X(attrs, uint64_t, kHasAttrs)      \
  X(flags, uint64_t, kHasFlags)      \
  X(result, int64_t, kHasResult)     \
  X(obj, uint32_t, kHasObj)          \
  X(pid, uint32_t, kHasPid)          \
  X(tid, uint32_t, kHasTid)          \
  X(vcpu, uint16_t, kHasVcpu)

// Bits of RecordedRow::present that a Record has not, as the recorder knows them otherwise.
inline constexpr uint16_t kHasPid = 1 << 12;
inline constexpr uint16_t kHasTid = 1 << 13;
inline constexpr uint16_t kRecordPresentBits = (1 << 12) - 1;

// The same as columns of the trace in one allocation, which becomes one ArrayBuffer.
class RecordedBatch {
 public:
  // ts_ns counts from `clock_base_ns`. Null if there is no memory for it.
  static std::unique_ptr<RecordedBatch> Build(RecordedRows rows, uint64_t clock_base_ns);

  size_t rows() const { return rows_; }
  const std::vector<std::pair<uint32_t, std::string>>& details() const { return details_; }

  // The allocation under all columns, and its bytes. After release_block() the caller frees it with free().
  char* block() const { return block_.get(); }
  size_t block_size() const { return block_size_; }
  char* release_block() { return block_.release(); }

  uint64_t* ts_ns = nullptr;
  Op* op = nullptr;
  uint16_t* error = nullptr;  // errno
  // Null: no row has a value.
#define CVMTRACE_COLUMN_POINTER(name, type, bit) type* name = nullptr;
  CVMTRACE_RECORDED_COLUMNS(CVMTRACE_COLUMN_POINTER)
#undef CVMTRACE_COLUMN_POINTER
  // Arrow bitmaps; null: every row has a value, or none.
  struct {
#define CVMTRACE_BITMAP_POINTER(name, type, bit) uint8_t* name = nullptr;
    CVMTRACE_RECORDED_COLUMNS(CVMTRACE_BITMAP_POINTER)
#undef CVMTRACE_BITMAP_POINTER
  } bitmap;

 private:
  bool Allocate(uint16_t any, uint16_t all);
  void Fill(const RecordedRow* rows, size_t first, size_t past, uint64_t clock_base_ns);

  size_t rows_ = 0;
  std::vector<std::pair<uint32_t, std::string>> details_;
  std::unique_ptr<char[], FreeDeleter> block_;
  size_t block_size_ = 0;
};

}  // namespace cvmtrace
