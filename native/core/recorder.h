// Records other processes: the memory that they write to, and the thread that takes their rows out of it.
#pragma once

#include <pthread.h>
#include <stdint.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "recorder_area.h"
#include "recorder_batch.h"
#include "recorder_drain.h"
#include "result.h"

namespace cvmtrace {

struct RecorderOptions {
  uint64_t ring_bytes = uint64_t{8} << 20;
  bool block_when_full = true;
  DrainOptions drain;
};

class Recorder {
 public:
  // Takes a batch on the recorder's thread; null when all were taken after Stop(), or there is no memory.
  using Deliver = std::function<void(std::unique_ptr<RecordedBatch>)>;

  static Result<std::unique_ptr<Recorder>> Create(const RecorderOptions& options, Deliver deliver);
  // Ends the thread. What was not asked for is lost; requests that are open are answered with null.
  ~Recorder();

  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const std::string& path() const { return area_.path(); }
  uint64_t clock_base_ns() const { return clock_base_ns_; }

  // Asks for one batch: when there is one worth a delivery, or after 100 ms whatever there is.
  void Request();
  void Mark(std::string name, uint64_t ts_ns);
  // Takes what there is, and tells recorded processes to go on without.
  void Stop();
  RecorderTotals totals() const;

 private:
  Recorder(RecordArea area, const RecorderOptions& options, Deliver deliver);
  static void* ThreadMain(void* recorder);
  void Run();
  // Answers a request, if there is one and something to answer.
  void Serve();

  const RecordArea area_;
  const uint64_t clock_base_ns_;
  const Deliver deliver_;

  // The thread's own.
  RecorderDrain drain_;
  bool drained_ = false;  // all was taken
  uint64_t next_delivery_ns_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::string, uint64_t>> marks_;
  size_t requests_ = 0;
  bool stop_ = false;
  bool quit_ = false;
  // What the thread found in its last round.
  bool finished_ = false;
  size_t ready_rows_ = 0;
  RecorderTotals totals_;

  pthread_t thread_{};
  bool started_ = false;
};

}  // namespace cvmtrace
