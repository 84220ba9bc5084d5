// Decoding of words, and validity bitmaps.
#include "batch.h"

#include <string.h>

#include "testing/runner.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

std::string ProblemOf(const std::vector<double>& words) {
  auto decoded = Batch::Decode(words.data(), words.size(), {});
  const Malformed* const malformed = std::get_if<Malformed>(&decoded);
  return malformed ? malformed->message : "";
}

std::unique_ptr<Batch> Decoded(const std::vector<Operation>& operations, const BatchOptions& options = {}) {
  const std::vector<double> words = WordsOf(operations);
  auto decoded = Batch::Decode(words.data(), words.size(), options);
  auto* const batch = std::get_if<0>(&decoded);
  return batch ? std::move(*batch) : nullptr;
}

TEST("operands arrive, and absent ones are not present") {
  const auto batch = Decoded({{Op::gmem_punch_hole, 3, 4096, NAN, 9007199254740991.0, NAN, 0, 0, 0, 65535}});
  REQUIRE(batch);
  CHECK(batch->op_row(0).op == Op::gmem_punch_hole);
  CHECK(batch->op_row(0).obj == 3);
  CHECK(batch->op_row(0).gpa == 4096);
  CHECK(batch->op_row(0).len == 9007199254740991u);
  CHECK(batch->op_row(0).vcpu == 65535);
  CHECK(IsPresent(*batch, 0, present::flags));
  CHECK(!IsPresent(*batch, 0, present::offset));
  CHECK(!IsPresent(*batch, 0, present::attrs));
  CHECK(!IsPresent(*batch, 0, present::hva));
}

TEST("words that are no operand are named") {
  auto words = WordsOf({{Op::mark}, {Op::mark}});
  const auto with = [&](size_t at, double value) {
    auto changed = words;
    changed[at] = value;
    return ProblemOf(changed);
  };
  CHECK(ProblemOf(words).empty());
  CHECK(with(kStride + kWordOffset, -1).find("operation 1: offset is -1,") == 0);
  CHECK(with(kWordLen, 0.5).find("operation 0: len is 0.5,") == 0);
  CHECK(with(kWordGpa, 9007199254740992.0).find("operation 0: gpa is 9007199254740992,") == 0);
  CHECK(with(kWordAttrs, INFINITY).find("operation 0: attrs is inf,") == 0);
  CHECK(with(kWordObj, 4294967296.0).find("operation 0: obj is 4294967296,") == 0);
  CHECK(with(kWordVcpu, 65536).find("operation 0: vcpu is 65536,") == 0);
  CHECK(with(kWordPace, -5).find("operation 0: paceNs is -5,") == 0);
  CHECK(with(kWordOp, static_cast<double>(kOpCount)).find("operation 0: op is ") == 0);
  CHECK(with(kWordOp, NAN).find("operation 0: op is ") == 0);
  words.pop_back();
  CHECK(ProblemOf(words) == "a batch has 11 words per operation, not 21 in all");
}

TEST("exits must end inside the batch, and not nest") {
  const auto problem = [](const std::vector<Operation>& operations) { return ProblemOf(WordsOf(operations)); };
  CHECK(problem({{.op = Op::exit_memory_fault, .peer = 1}, {Op::mark}}).empty());
  CHECK(problem({{.op = Op::exit_memory_fault, .peer = 2}, {Op::mark}}) ==
        "operation 0: its exit has 2 operations, but only 1 follow in the batch");
  CHECK(problem({{.op = Op::exit_map_gpa_range, .peer = 1}, {.op = Op::exit_memory_fault}}) ==
        "operation 1: an exit inside another exit");
  CHECK(problem({{.op = Op::exit_map_gpa_range}, {.op = Op::exit_map_gpa_range}}).empty());
}

TEST("an empty batch is one") {
  const auto batch = Decoded({});
  REQUIRE(batch);
  CHECK(batch->count() == 0);
  batch->Finish();
}

TEST("bitmaps have a bit per row, and are left out for columns without nulls") {
  std::vector<Operation> operations;
  for (int i = 0; i < 11; ++i) operations.push_back({.op = Op::mark, .gpa = i % 3 == 0 ? double{NAN} : i, .len = 1});
  const auto batch = Decoded(operations);
  REQUIRE(batch);
  batch->rows = 11;
  batch->Finish();
  CHECK(batch->bitmap(column_index::len) == nullptr);
  const uint8_t* const gpa = batch->bitmap(column_index::gpa);
  REQUIRE(gpa);
  for (size_t i = 0; i < 11; ++i) CHECK((gpa[i / 8] >> (i % 8) & 1) == (i % 3 != 0));
  CHECK(gpa[1] >> 3 == 0);
  const uint8_t* const flags = batch->bitmap(column_index::flags);
  REQUIRE(flags);
  CHECK(flags[0] == 0 && flags[1] == 0);
}

TEST("bitmaps look at the rows that ran only") {
  const auto batch = Decoded({{.op = Op::mark, .len = 1}, {.op = Op::mark}});
  REQUIRE(batch);
  batch->rows = 1;
  batch->Finish();
  CHECK(batch->bitmap(column_index::len) == nullptr);
}

TEST("columns are aligned to 8 bytes and do not overlap") {
  const auto batch = Decoded({{Op::mark}, {Op::mark}, {Op::mark}}, {.pace = Pace::kRelative});
  REQUIRE(batch);
  const auto inside = [&](const void* column, size_t bytes) {
    const auto at = static_cast<size_t>(static_cast<const char*>(column) - batch->block());
    return at % 8 == 0 && at + bytes <= batch->block_size();
  };
  CHECK(inside(batch->ts_ns, 24));
#define CVMTRACE_CHECK(name, type) CHECK(inside(batch->name, 3 * sizeof(type)));
  CVMTRACE_NULLABLE_COLUMNS(CVMTRACE_CHECK)
#undef CVMTRACE_CHECK
  memset(batch->lag_ns, 0xff, 24);
  CHECK(batch->dur_ns[2] == 0);
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
