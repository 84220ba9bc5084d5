// Runs batches of operations in order on a thread of its own, and times each. A guest run has its turn among them, with
// more threads of its own.
#pragma once

#include <pthread.h>
#include <stdint.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "batch.h"
#include "guest_run.h"
#include "handlers.h"
#include "objects.h"

namespace cvmtrace {

// All members but objects() are for one thread, the owner's.
class Executor {
 public:
  // Called on the executor's thread: with each batch when it is over, in order, and once with nullptr when the thread
  // ends.
  using Done = std::function<void(std::unique_ptr<Batch>)>;
  // The same for guest runs.
  using GuestDone = std::function<void(std::unique_ptr<GuestRun>)>;

  explicit Executor(Done done, GuestDone guest_done = {});
  // Stops and joins.
  ~Executor();

  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  uint64_t clock_base_ns() const { return clock_base_ns_; }
  const Objects& objects() const { return objects_; }

  // Starts the thread with the first batch. 0, or the errno of pthread_create(3), with the batch left to the caller.
  [[nodiscard]] int Submit(std::unique_ptr<Batch>& batch);
  [[nodiscard]] int Submit(std::unique_ptr<GuestRun>& run);

  // Ends the running batch or guest run early, and those in the queue with 0 rows.
  void Cancel();

  // Cancels; the thread closes all objects and ends. Returns at once: false if there is no thread, so that there will
  // be no Done(nullptr).
  bool RequestStop();

  // After RequestStop(). Waits for the thread to end; then all objects are closed.
  void Join();

 private:
  // One of the two.
  struct Queued {
    std::unique_ptr<Batch> batch;
    std::unique_ptr<GuestRun> guest;
    bool dropped = false;
  };

  static void* ThreadMain(void* self);
  int Start();
  void Enqueue(Queued queued);
  void Loop();
  void Execute(std::unique_ptr<Batch> batch, bool dropped);
  void Execute(std::unique_ptr<GuestRun> run, bool dropped);
  void Run(Batch& batch);
  // Waits until the operation is to start, and sets *due to that. False if cancelled.
  bool WaitForTurn(const BatchOptions& options, uint64_t pace_ns, uint64_t* due);
  bool WaitUntil(uint64_t due);

  const Done done_;
  const GuestDone guest_done_;
  const HandlerTable& handlers_;
  const uint64_t clock_base_ns_;
  Objects objects_;

  std::mutex mutex_;
  std::condition_variable wake_;  // the queue has grown, or cancelled_ or stopping_ was set
  std::deque<Queued> queue_;
  bool stopping_ = false;
  // Set under the mutex, so that a sleep sees it; read without between two operations.
  std::atomic<bool> cancelled_{false};
  bool running_ = false;
  GuestThreads guest_threads_;

  bool started_ = false;
  pthread_t thread_ = {};

  // Of the thread alone.
  int tid_ = 0;
  uint64_t absolute_start_ns_ = 0;  // when the first batch with absolute pacing began
  uint64_t last_end_ns_ = 0;        // end of the operation before
};

}  // namespace cvmtrace
