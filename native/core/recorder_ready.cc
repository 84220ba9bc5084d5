#include "recorder_ready.h"

#include <algorithm>

namespace cvmtrace {

uint32_t ReadyRows::KeepText(std::string text) {
  // 0 is no text. Four thousand million texts later the first are long taken.
  if (++last_text_ == 0) ++last_text_;
  texts_[last_text_] = std::move(text);
  return last_text_;
}

size_t ReadyRows::EndRound() {
  // One thread's rows are in order mostly, and rows are large: what is sorted is their places.
  const auto by_start = [](const RecordedRow& a, const RecordedRow& b) { return a.ts_ns < b.ts_ns; };
  if (std::is_sorted(round_.begin(), round_.end(), by_start)) {
    for (const RecordedRow& row : round_) Append(row);
  } else {
    order_.clear();
    for (uint32_t i = 0; i < round_.size(); ++i) order_.emplace_back(round_[i].ts_ns, i);
    std::sort(order_.begin(), order_.end());
    for (const auto& [ts_ns, i] : order_) Append(round_[i]);
  }
  const size_t rows = round_.size();
  round_.clear();
  return rows;
}

RecordedRows ReadyRows::Take() {
  if (blocks_.empty()) return {};
  RecordedRows rows = std::move(blocks_.front());
  blocks_.pop_front();
  size_ -= rows.rows.size();
  return rows;
}

void ReadyRows::Append(const RecordedRow& row) {
  if (blocks_.empty() || blocks_.back().rows.size() == kRecordedBatchRows) blocks_.emplace_back();
  RecordedRows& block = blocks_.back();
  if (row.text != 0) {
    if (auto text = texts_.extract(row.text)) {
      block.details.emplace_back(static_cast<uint32_t>(block.rows.size()), std::move(text.mapped()));
    }
  }
  block.rows.push_back(row);
  ++size_;
}

}  // namespace cvmtrace
