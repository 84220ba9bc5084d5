#include "batch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>

namespace cvmtrace {
namespace {

constexpr const char* kWordNames[kStride] = {"op",    "obj",    "gpa",  "offset", "len", "attrs",
                                             "flags", "paceNs", "peer", "vcpu",   "iova"};
constexpr double kMaxWord = 9007199254740991.0;  // 2^53 - 1: the last whole number before float64 skips some

// What an operation has once it ran. Set in advance, so that the executor need only clear a bit of the few that fail.
constexpr Present kExpected = present::dur_ns | present::result;

constexpr double WordLimit(size_t word) {
  switch (word) {
    case kWordOp:
      return kOpCount - 1;
    case kWordObj:
    case kWordPeer:
      return UINT32_MAX;
    case kWordVcpu:
      return UINT16_MAX;
    default:
      return kMaxWord;
  }
}

Malformed BadWord(size_t index, size_t word, double value) {
  char text[160];
  snprintf(text, sizeof text, "operation %zu: %s is %.17g, not a whole number from 0 to %.17g", index, kWordNames[word],
           value, WordLimit(word));
  return Malformed{text};
}

constexpr size_t RoundUp8(size_t bytes) { return (bytes + 7) & ~size_t{7}; }

size_t BitmapStride(size_t rows) { return RoundUp8((rows + 7) / 8); }

}  // namespace

bool Batch::Allocate() {
  // Column by column in one block, each 8-byte aligned as BigInt64Array demands; two passes: measure, then place.
  for (int pass = 0; pass < 2; ++pass) {
    size_t at = 0;
    const auto place = [&](auto*& pointer, size_t bytes) {
      if (pass == 1) pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(block_.get() + at);
      at += RoundUp8(bytes);
    };
    place(ts_ns, count_ * sizeof *ts_ns);
    place(op, count_ * sizeof *op);
    place(error, count_ * sizeof *error);
#define CVMTRACE_PLACE(name, type) \
  if (column_index::name != column_index::lag_ns || paced()) place(name, count_ * sizeof(type));
    CVMTRACE_NULLABLE_COLUMNS(CVMTRACE_PLACE)
#undef CVMTRACE_PLACE
    place(bitmap_space_, BitmapStride(count_) * column_index::kCount);
    if (pass == 0) {
      block_size_ = at;
      block_.reset(static_cast<char*>(malloc(std::max<size_t>(at, 1))));
      if (!block_) return false;
      memset(block_.get(), 0, at);
    }
  }
  const size_t row_bytes = std::max<size_t>(count_, 1) * sizeof(OpRow);
  op_rows_.reset(static_cast<OpRow*>(aligned_alloc(alignof(OpRow), row_bytes)));
  if (!op_rows_) return false;
  memset(static_cast<void*>(op_rows_.get()), 0, row_bytes);
  return true;
}

std::variant<std::unique_ptr<Batch>, Malformed> Batch::Decode(const double* words, size_t word_count,
                                                              const BatchOptions& options) {
  if (word_count % kStride != 0) {
    return Malformed{"a batch has " + std::to_string(kStride) + " words per operation, not " +
                     std::to_string(word_count) + " in all"};
  }
  std::unique_ptr<Batch> batch(new Batch(word_count / kStride, options));
  if (!batch->Allocate())
    return Malformed{"no memory for a batch of " + std::to_string(batch->count()) + " operations"};

  size_t exit_end = 0;
  for (size_t i = 0; i < batch->count(); ++i, words += kStride) {
    uint64_t value[kStride] = {};
    uint32_t given = 0;
    for (size_t word = 0; word < kStride; ++word) {
      const double number = words[word];
      if (isnan(number) && word != kWordOp) continue;
      // Written so that NaN fails too.
      if (!(number >= 0 && number <= WordLimit(word)) || number != trunc(number)) return BadWord(i, word, number);
      value[word] = static_cast<uint64_t>(number);
      given |= 1u << word;
    }
    const auto bit = [&](Word word, Present p) { return given >> word & 1 ? p : Present{0}; };
    OpRow& row = batch->op_row(i);
    row.present = static_cast<Present>(kExpected | bit(kWordObj, present::obj) | bit(kWordGpa, present::gpa) |
                                       bit(kWordOffset, present::offset) | bit(kWordLen, present::len) |
                                       bit(kWordAttrs, present::attrs) | bit(kWordFlags, present::flags) |
                                       bit(kWordVcpu, present::vcpu) | bit(kWordIova, present::iova));
    row.op = static_cast<Op>(value[kWordOp]);
    row.obj = static_cast<uint32_t>(value[kWordObj]);
    row.gpa = value[kWordGpa];
    row.offset = value[kWordOffset];
    row.len = value[kWordLen];
    row.attrs = value[kWordAttrs];
    row.flags = value[kWordFlags];
    row.vcpu = static_cast<uint16_t>(value[kWordVcpu]);
    row.peer = static_cast<uint32_t>(value[kWordPeer]);
    row.iova = value[kWordIova];
    row.pace_ns = batch->paced() ? value[kWordPace] : 0;
    if (IsExit(row.op)) {
      const std::string where = "operation " + std::to_string(i) + ": ";
      if (i < exit_end) return Malformed{where + "an exit inside another exit"};
      if (value[kWordPeer] > batch->count() - i - 1) {
        return Malformed{where + "its exit has " + std::to_string(value[kWordPeer]) + " operations, but only " +
                         std::to_string(batch->count() - i - 1) + " follow in the batch"};
      }
      exit_end = i + 1 + value[kWordPeer];
    }
  }
  return batch;
}

void Batch::Finish() {
  Present any = 0;
  Present all = static_cast<Present>(~0u);
  for (size_t i = 0; i < rows; ++i) {
    const OpRow& row = op_row(i);
    any |= row.present;
    all &= row.present;
    ts_ns[i] = row.ts_ns;
    op[i] = row.op;
    error[i] = row.error;
    obj[i] = row.obj;
    gpa[i] = row.gpa;
    hva[i] = row.hva;
    iova[i] = row.iova;
    offset[i] = row.offset;
    len[i] = row.len;
    attrs[i] = row.attrs;
    flags[i] = row.flags;
    vcpu[i] = row.vcpu;
    result[i] = row.result;
    dur_ns[i] = row.dur_ns;
    if (paced()) lag_ns[i] = row.lag_ns;
  }
  const size_t stride = BitmapStride(count_);
  for (unsigned column = 0; column < column_index::kCount; ++column) {
    const Present bit = static_cast<Present>(1u << column);
    if (rows == 0 || (all & bit)) continue;
    uint8_t* const bitmap = bitmap_space_ + column * stride;
    bitmaps_[column] = bitmap;
    if (!(any & bit)) continue;
    for (size_t i = 0; i < rows; ++i) {
      bitmap[i / 8] = static_cast<uint8_t>(bitmap[i / 8] | ((op_row(i).present >> column & 1u) << (i % 8)));
    }
  }
}

}  // namespace cvmtrace
