// Rows in the order of their start, a round at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "recorder_batch.h"

namespace cvmtrace {

class ReadyRows {
 public:
  // Keeps a text; its number is for RecordedRow::text of a row that is added later.
  uint32_t KeepText(std::string text);

  // Adds a row to this round.
  void Add(const RecordedRow& row) { round_.push_back(row); }

  // Ends the round: its rows, sorted by ts_ns, follow those of the round before. Rows of one ts_ns stay as they were
  // added. Returns how many there were.
  size_t EndRound();

  // Rows of ended rounds that were not taken.
  size_t size() const { return size_; }
  // The next of them, kRecordedBatchRows at most.
  RecordedRows Take();

 private:
  void Append(const RecordedRow& row);

  std::vector<RecordedRow> round_;
  std::vector<std::pair<uint64_t, uint32_t>> order_;  // ts_ns and place in round_
  std::unordered_map<uint32_t, std::string> texts_;
  uint32_t last_text_ = 0;
  std::deque<RecordedRows> blocks_;
  size_t size_ = 0;
};

}  // namespace cvmtrace
