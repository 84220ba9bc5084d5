#include "recorder_batch.h"

#include <string.h>

#include <algorithm>

namespace cvmtrace {
namespace {

// Rows whose columns are filled one after the other while the rows are in the first-level cache. A multiple of 8, so
// that no two chunks share a byte of a bitmap.
constexpr size_t kChunkRows = 128;

}  // namespace

std::unique_ptr<RecordedBatch> RecordedBatch::Build(RecordedRows rows, uint64_t clock_base_ns) {
  std::unique_ptr<RecordedBatch> batch(new RecordedBatch);
  batch->rows_ = rows.rows.size();
  batch->details_ = std::move(rows.details);
  uint16_t any = 0;
  uint16_t all = 0xffff;
  for (const RecordedRow& row : rows.rows) {
    any |= row.present;
    all &= row.present;
  }
  if (!batch->Allocate(any, all)) return nullptr;
  for (size_t first = 0; first < batch->rows_; first += kChunkRows) {
    batch->Fill(rows.rows.data(), first, std::min(first + kChunkRows, batch->rows_), clock_base_ns);
  }
  return batch;
}

bool RecordedBatch::Allocate(uint16_t any, uint16_t all) {
  for (int pass = 0; pass < 2; ++pass) {
    size_t at = 0;
    const auto place = [&]<typename T>(T*& column, size_t count) {
      if (pass == 1) column = reinterpret_cast<T*>(block_.get() + at);
      at += (count * sizeof(T) + 7) & ~size_t{7};
    };
    place(ts_ns, rows_);
    place(op, rows_);
    place(error, rows_);
#define CVMTRACE_PLACE(name, type, bit)                      \
  if (any & (bit)) {                                         \
    place(name, rows_);                                      \
    if (!(all & (bit))) place(bitmap.name, (rows_ + 7) / 8); \
  }
    CVMTRACE_RECORDED_COLUMNS(CVMTRACE_PLACE)
#undef CVMTRACE_PLACE
    if (pass == 0) {
      block_size_ = at;
      block_.reset(static_cast<char*>(calloc(std::max<size_t>(at, 1), 1)));
      if (!block_) return false;
    }
  }
  return true;
}

void RecordedBatch::Fill(const RecordedRow* rows, size_t first, size_t past, uint64_t clock_base_ns) {
  for (size_t i = first; i < past; ++i) {
    ts_ns[i] = rows[i].ts_ns - clock_base_ns;
    op[i] = rows[i].op;
    error[i] = rows[i].error;
  }
#define CVMTRACE_FILL(column, type, bit)                                                                              \
  if (column) {                                                                                                       \
    for (size_t i = first; i < past; ++i) column[i] = rows[i].present & (bit) ? rows[i].column : type{0};             \
  }                                                                                                                   \
  if (bitmap.column) {                                                                                                \
    for (size_t i = first; i < past; ++i) {                                                                           \
      if (rows[i].present & (bit)) bitmap.column[i / 8] = static_cast<uint8_t>(bitmap.column[i / 8] | 1u << (i % 8)); \
    }                                                                                                                 \
  }
  CVMTRACE_RECORDED_COLUMNS(CVMTRACE_FILL)
#undef CVMTRACE_FILL
}

}  // namespace cvmtrace
