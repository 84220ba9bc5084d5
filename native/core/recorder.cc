#include "recorder.h"

#include <signal.h>

#include <algorithm>
#include <chrono>

#include "clock.h"

namespace cvmtrace {
namespace {

// Sleep between rounds: short while rows come, longer the longer none did. A ring must hold what comes meanwhile.
constexpr uint64_t kShortestSleepNs = 1'000'000;
constexpr uint64_t kLongestSleepNs = 20'000'000;

// Rows that are worth a delivery of their own; fewer are delivered each 100 ms.
constexpr size_t kDeliveryRows = kRecordedBatchRows / 4;
constexpr uint64_t kDeliveryPeriodNs = 100'000'000;

// Rows that wait for JavaScript: about 220 MB. With more, rings are left as they are, so that targets wait or drop.
constexpr size_t kMaxReadyRows = size_t{2} << 20;

}  // namespace

Result<std::unique_ptr<Recorder>> Recorder::Create(const RecorderOptions& options, Deliver deliver) {
  auto area = RecordArea::Create(options.ring_bytes, options.block_when_full);
  if (!area) return area.error();
  std::unique_ptr<Recorder> recorder(new Recorder(std::move(area).value(), options, std::move(deliver)));
  // Signals are for the thread of JavaScript.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&recorder->thread_, nullptr, ThreadMain, recorder.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return Error{error, "pthread_create", {}};
  recorder->started_ = true;
  return recorder;
}

Recorder::Recorder(RecordArea area, const RecorderOptions& options, Deliver deliver)
    : area_(std::move(area)),
      clock_base_ns_(NowNs()),
      deliver_(std::move(deliver)),
      drain_(area_, clock_base_ns_, options.drain) {}

Recorder::~Recorder() {
  if (!started_) return;
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  changed_.notify_one();
  pthread_join(thread_, nullptr);
}

void Recorder::Request() {
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    ++requests_;
    // Otherwise the thread looks here soon enough.
    wake = finished_ || ready_rows_ >= kDeliveryRows;
  }
  if (wake) changed_.notify_one();
}

void Recorder::Mark(std::string name, uint64_t ts_ns) {
  const std::lock_guard lock(mutex_);
  marks_.emplace_back(std::move(name), ts_ns);
}

void Recorder::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
}

RecorderTotals Recorder::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

void* Recorder::ThreadMain(void* recorder) {
  static_cast<Recorder*>(recorder)->Run();
  return nullptr;
}

void Recorder::Run() {
  uint64_t sleep_ns = kShortestSleepNs;
  std::unique_lock lock(mutex_);
  while (!quit_) {
    const bool stop = stop_;
    const auto marks = std::exchange(marks_, {});
    lock.unlock();
    bool busy = false;
    const size_t before = drain_.ready().size();
    if (!drained_) {
      for (const auto& [name, ts_ns] : marks) drain_.Mark(name, ts_ns);
      if (stop || before < kMaxReadyRows) busy = drain_.Round();
      if (stop) {
        // After the round, so that threads that waited for room had it, and before the last one.
        area_.header().stopped.store(1, std::memory_order_release);
        drain_.Finish();
        drained_ = true;
      }
    }
    const bool came = drain_.ready().size() > before;
    Serve();
    lock.lock();
    totals_ = drain_.totals();
    ready_rows_ = drain_.ready().size();
    finished_ = drained_;
    if (requests_ > 0 && (finished_ || ready_rows_ >= kDeliveryRows)) continue;
    if (finished_) {
      changed_.wait(lock, [this] { return quit_ || requests_ > 0; });
      continue;
    }
    sleep_ns = busy || came ? kShortestSleepNs : std::min(2 * sleep_ns, kLongestSleepNs);
    if (!busy && !quit_ && !stop_) changed_.wait_for(lock, std::chrono::nanoseconds(sleep_ns));
  }
  // Whoever waits in a recorded process waits for this.
  area_.header().stopped.store(1, std::memory_order_release);
  for (; requests_ > 0; --requests_) deliver_(nullptr);
}

void Recorder::Serve() {
  const size_t rows = drain_.ready().size();
  const uint64_t now_ns = NowNs();
  if (!drained_ && rows < kDeliveryRows && now_ns < next_delivery_ns_) return;
  {
    const std::lock_guard lock(mutex_);
    if (requests_ == 0) return;
    --requests_;
    // So that whoever sees the end sees what it came to.
    totals_ = drain_.totals();
  }
  next_delivery_ns_ = now_ns + kDeliveryPeriodNs;
  if (drained_ && rows == 0) {
    deliver_(nullptr);
  } else {
    deliver_(RecordedBatch::Build(drain_.ready().Take(), clock_base_ns_));
  }
}

}  // namespace cvmtrace
