// A batch of operations: decoded operands before it runs, columns of a trace after.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <memory>
#include <string>

#include "ops.h"
#include "result.h"

namespace cvmtrace {

// Layout of an operation's words, as of native/op-batch.ts.
enum Word : size_t {
  kWordOp,
  kWordObj,
  kWordGpa,
  kWordOffset,
  kWordLen,
  kWordAttrs,
  kWordFlags,
  kWordPace,
  kWordPeer,
  kWordVcpu,
  kWordIova,
  kStride
};

// Columns that can be null: name, type. lag_ns is only there in a paced batch.
#define CVMTRACE_NULLABLE_COLUMNS(X) \
  X(obj, uint32_t)                   \
  X(gpa, uint64_t)                   \
  X(hva, uint64_t)                   \
  X(iova, uint64_t)                  \
  X(offset, uint64_t)                \
  X(len, uint64_t)                   \
  X(attrs, uint64_t)                 \
  X(flags, uint64_t)                 \
  X(vcpu, uint16_t)                  \
  X(result, int64_t)                 \
  X(dur_ns, uint64_t)                \
  X(lag_ns, uint64_t)

namespace column_index {
enum : unsigned {
#define CVMTRACE_COLUMN_INDEX(name, type) name,
  CVMTRACE_NULLABLE_COLUMNS(CVMTRACE_COLUMN_INDEX)
#undef CVMTRACE_COLUMN_INDEX
      kCount
};
}  // namespace column_index

// Which nullable columns of a row hold a value: bit column_index::X.
using Present = uint16_t;
static_assert(column_index::kCount <= 16);

namespace present {
#define CVMTRACE_PRESENT(name, type) inline constexpr Present name = 1u << column_index::name;
CVMTRACE_NULLABLE_COLUMNS(CVMTRACE_PRESENT)
#undef CVMTRACE_PRESENT
}  // namespace present

struct FreeDeleter {
  void operator()(void* p) const { ::free(p); }
};

enum class Pace : uint8_t { kAsap, kAbsolute, kRelative };

struct BatchOptions {
  bool stop_at_failure = false;
  Pace pace = Pace::kAsap;
  double pace_factor = 1;
};

// What is wrong with words that cannot be a batch.
struct Malformed {
  std::string message;
};

// An operation while it runs: operands, then what came of them. One row is two cache lines of one page: a system call
// leaves the caches cold, so that a row spread over a dozen columns costs about 40 ns more. Finish() makes the columns
// of it.
struct alignas(64) OpRow {
  uint64_t gpa, offset, len, attrs, flags;
  uint64_t pace_ns;
  uint32_t obj, peer;
  uint64_t iova;
  uint64_t ts_ns, dur_ns, hva, lag_ns;
  int64_t result;
  Present present;
  uint16_t vcpu;
  uint16_t error;  // errno
  Op op;
};
static_assert(sizeof(OpRow) == 128);

// The columns share one allocation, which becomes one ArrayBuffer: nothing is copied per row or per column on the way
// to JavaScript.
class Batch {
 public:
  // Decodes `word_count` words. The input is not referenced afterwards.
  static std::variant<std::unique_ptr<Batch>, Malformed> Decode(const double* words, size_t word_count,
                                                                const BatchOptions& options);

  // Operations, and allocated rows.
  size_t count() const { return count_; }
  const BatchOptions& options() const { return options_; }
  bool paced() const { return options_.pace != Pace::kAsap; }

  OpRow& op_row(size_t index) { return op_rows_[index]; }
  const OpRow& op_row(size_t index) const { return op_rows_[index]; }

  // Makes the columns and their validity bitmaps of the first `rows` operations; the last step before JavaScript sees
  // them.
  void Finish();

  // Bitmap (Arrow layout, 8 * bitmap_stride() rows at most) of a nullable column, or nullptr if it has no null.
  const uint8_t* bitmap(unsigned column) const { return bitmaps_[column]; }

  // The allocation under all columns, and its bytes. After release_block() the caller frees it with free().
  char* block() const { return block_.get(); }
  size_t block_size() const { return block_size_; }
  char* release_block() { return block_.release(); }

  // Columns of a trace, there after Finish().
  uint64_t* ts_ns = nullptr;
  Op* op = nullptr;
  uint16_t* error = nullptr;  // errno
#define CVMTRACE_COLUMN_POINTER(name, type) type* name = nullptr;
  CVMTRACE_NULLABLE_COLUMNS(CVMTRACE_COLUMN_POINTER)
#undef CVMTRACE_COLUMN_POINTER

  // Outcome, set by the executor.
  size_t rows = 0;
  size_t failures = 0;
  bool stopped = false;
  int tid = 0;

 private:
  Batch(size_t count, const BatchOptions& options) : count_(count), options_(options) {}
  bool Allocate();

  size_t count_;
  BatchOptions options_;
  std::unique_ptr<OpRow[], FreeDeleter> op_rows_;
  std::unique_ptr<char[], FreeDeleter> block_;
  size_t block_size_ = 0;
  uint8_t* bitmap_space_ = nullptr;
  const uint8_t* bitmaps_[column_index::kCount] = {};
};

}  // namespace cvmtrace
