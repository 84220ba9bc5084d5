// An executor for tests and benchmarks, and operations by the names of their operands.
#pragma once

#include <math.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "../executor.h"

namespace cvmtrace {

struct Operation {
  Op op;
  double obj = NAN;
  double gpa = NAN;
  double offset = NAN;
  double len = NAN;
  double attrs = NAN;
  double flags = NAN;
  double pace_ns = 0;
  double peer = 0;
  double vcpu = NAN;
  double iova = NAN;
};

inline std::vector<double> WordsOf(const std::vector<Operation>& operations) {
  std::vector<double> words;
  for (const Operation& o : operations) {
    words.insert(words.end(), {static_cast<double>(o.op), o.obj, o.gpa, o.offset, o.len, o.attrs, o.flags, o.pace_ns,
                               o.peer, o.vcpu, o.iova});
  }
  return words;
}

class Runner {
 public:
  Runner() : executor_([this](std::unique_ptr<Batch> batch) { Collect(std::move(batch)); }) {}

  Executor& executor() { return executor_; }

  void Submit(const std::vector<Operation>& operations, const BatchOptions& options = {}) {
    const std::vector<double> words = WordsOf(operations);
    auto decoded = Batch::Decode(words.data(), words.size(), options);
    auto* const batch = std::get_if<0>(&decoded);
    if (!batch || executor_.Submit(*batch) != 0) abort();
  }

  // The next batch that is over; nullptr after the thread's end.
  std::unique_ptr<Batch> Next() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return !done_.empty(); });
    auto batch = std::move(done_.front());
    done_.pop_front();
    return batch;
  }

  std::unique_ptr<Batch> Run(const std::vector<Operation>& operations, const BatchOptions& options = {}) {
    Submit(operations, options);
    return Next();
  }

 private:
  void Collect(std::unique_ptr<Batch> batch) {
    const std::lock_guard lock(mutex_);
    done_.push_back(std::move(batch));
    arrived_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::unique_ptr<Batch>> done_;
  Executor executor_;
};

inline bool IsPresent(const Batch& batch, size_t row, Present column) {
  return (batch.op_row(row).present & column) != 0;
}

}  // namespace cvmtrace
