#include "executor.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "clock.h"
#include "exit_answer.h"
#include "op_run.h"

namespace cvmtrace {
namespace {

// A wake-up from sleep is late by the scheduler's latency; the last stretch is spun instead.
constexpr uint64_t kSpinNs = 60'000;

// Row of an exit that has begun, and what its operations have come to so far.
struct OpenExit {
  OpRow* row = nullptr;  // null: there is none
  size_t last = 0;       // index of its last operation
  uint16_t first_error = 0;
};

void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Executor::Executor(Done done, GuestDone guest_done)
    : done_(std::move(done)),
      guest_done_(std::move(guest_done)),
      handlers_(Handlers()),
      clock_base_ns_(NowNs()),
      guest_threads_(objects_, clock_base_ns_, cancelled_) {}

Executor::~Executor() {
  RequestStop();
  Join();
}

int Executor::Submit(std::unique_ptr<Batch>& batch) {
  if (const int error = Start()) return error;
  Enqueue({.batch = std::move(batch)});
  return 0;
}

int Executor::Submit(std::unique_ptr<GuestRun>& run) {
  if (const int error = Start()) return error;
  Enqueue({.guest = std::move(run)});
  return 0;
}

int Executor::Start() {
  if (started_) return 0;
  // The thread takes no signal that is meant for the process, as it would end fallocate(2) early with EINTR. Those that
  // the thread itself causes cannot be put off.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int synchronous : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS})
    sigdelset(&all, synchronous);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&thread_, nullptr, ThreadMain, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  started_ = error == 0;
  return error;
}

void Executor::Enqueue(Queued queued) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(queued));
  }
  wake_.notify_one();
}

void Executor::Cancel() {
  {
    const std::lock_guard lock(mutex_);
    for (Queued& queued : queue_) queued.dropped = true;
    if (running_) cancelled_.store(true, std::memory_order_relaxed);
  }
  wake_.notify_one();
  guest_threads_.Kick();
}

bool Executor::RequestStop() {
  if (!started_) return false;
  Cancel();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  return true;
}

void Executor::Join() {
  if (!started_) return;
  pthread_join(thread_, nullptr);
  started_ = false;
}

void* Executor::ThreadMain(void* self) {
  static_cast<Executor*>(self)->Loop();
  return nullptr;
}

void Executor::Loop() {
  tid_ = static_cast<int>(::syscall(SYS_gettid));
  ::prctl(PR_SET_NAME, "cvmtrace-exec");
  // Sleeps end when they were asked to, not up to 50 us later.
  ::prctl(PR_SET_TIMERSLACK, 1);
  last_end_ns_ = NowNs();
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) break;
    Queued next = std::move(queue_.front());
    queue_.pop_front();
    running_ = true;
    cancelled_.store(false, std::memory_order_relaxed);
    lock.unlock();

    if (next.batch) {
      Execute(std::move(next.batch), next.dropped);
    } else {
      Execute(std::move(next.guest), next.dropped);
    }

    lock.lock();
    running_ = false;
  }
  lock.unlock();
  guest_threads_.Join();
  objects_.Clear();
  done_(nullptr);
}

void Executor::Execute(std::unique_ptr<Batch> batch, bool dropped) {
  batch->tid = tid_;
  if (dropped) {
    batch->stopped = batch->count() > 0;
  } else {
    Run(*batch);
  }
  batch->Finish();
  done_(std::move(batch));
}

void Executor::Execute(std::unique_ptr<GuestRun> run, bool dropped) {
  for (const GuestRun::VcpuBatch& vcpu : run->vcpus) {
    vcpu.batch->stopped = vcpu.batch->count() > 0;
    if (vcpu.batch->options().pace == Pace::kAbsolute && absolute_start_ns_ == 0) absolute_start_ns_ = NowNs();
  }
  if (!dropped) guest_threads_.Run(*run, absolute_start_ns_);
  last_end_ns_ = NowNs();
  for (const GuestRun::VcpuBatch& vcpu : run->vcpus) vcpu.batch->Finish();
  guest_done_(std::move(run));
}

void Executor::Run(Batch& batch) {
  if (batch.options().pace == Pace::kAbsolute && absolute_start_ns_ == 0) absolute_start_ns_ = NowNs();
  OpRun run(objects_, cancelled_, clock_base_ns_);
  OpenExit exit;
  size_t row = 0;
  for (; row < batch.count(); ++row) {
    if (cancelled_.load(std::memory_order_relaxed)) break;
    OpRow& op = batch.op_row(row);
    uint64_t due = 0;
    if (op.pace_ns && !WaitForTurn(batch.options(), op.pace_ns, &due)) break;

    run.Select(op);
    handlers_[op.op](run);

    last_end_ns_ = run.end_ns();
    if (due) {
      const uint64_t start = clock_base_ns_ + op.ts_ns;
      op.lag_ns = start > due ? start - due : 0;
      op.present |= present::lag_ns;
    }
    const uint16_t error = op.error;
    if (error) {
      ++batch.failures;
      if (exit.row && exit.first_error == 0) exit.first_error = error;
    }
    if (IsExit(op.op)) {
      exit = {&op, row + op.peer, 0};
    }
    const bool stop = error && batch.options().stop_at_failure;
    if (exit.row && (row == exit.last || stop)) {
      exit.row->dur_ns = last_end_ns_ - clock_base_ns_ - exit.row->ts_ns;
      exit.row->result = AnswerOf(exit.first_error);
      exit.row->present |= present::result;
      exit.row = nullptr;
    }
    if (stop) {
      ++row;
      break;
    }
  }
  // Cancelled half-way: the exit was not answered, so neither its result nor its time are known.
  if (exit.row) exit.row->present &= static_cast<Present>(~present::dur_ns);
  batch.rows = row;
  batch.stopped = row < batch.count();
}

bool Executor::WaitForTurn(const BatchOptions& options, uint64_t pace_ns, uint64_t* due) {
  // An hour-long trace is 2^42 ns; the bound only keeps the product from overflowing.
  const double scaled = std::min(static_cast<double>(pace_ns) * options.pace_factor, 9e15);
  const uint64_t from = options.pace == Pace::kAbsolute ? absolute_start_ns_ : last_end_ns_;
  *due = from + static_cast<uint64_t>(scaled);
  return WaitUntil(*due);
}

bool Executor::WaitUntil(uint64_t due) {
  if (NowNs() + kSpinNs < due) {
    using std::chrono::nanoseconds;
    const std::chrono::steady_clock::time_point almost(nanoseconds(static_cast<int64_t>(due - kSpinNs)));
    std::unique_lock lock(mutex_);
    wake_.wait_until(lock, almost, [this] { return cancelled_.load(std::memory_order_relaxed); });
  }
  while (NowNs() < due) {
    if (cancelled_.load(std::memory_order_relaxed)) return false;
    CpuRelax();
  }
  return !cancelled_.load(std::memory_order_relaxed);
}

}  // namespace cvmtrace
