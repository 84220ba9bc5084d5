// Takes rows out of the memory that recorded processes write to, and puts them in order.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "recorder_area.h"
#include "recorder_batch.h"
#include "recorder_counters.h"
#include "recorder_processes.h"
#include "recorder_ready.h"

namespace cvmtrace {

// As of native/native.ts.
struct RecorderTotals {
  uint64_t processes = 0;
  uint64_t live_processes = 0;
  uint64_t threads = 0;
  uint64_t vcpus = 0;
  uint64_t rows = 0;
  uint64_t dropped = 0;
  uint64_t dropped_without_slot = 0;
  uint64_t unreadable = 0;
  uint64_t damaged = 0;
  uint64_t blocked_ns = 0;
  uint64_t long_exits = 0;
};

struct DrainOptions {
  uint64_t counter_period_ns = 500'000'000;
  // Rows of one thread that may wait for the end of the exit that they were made in; of all threads twice as many.
  size_t held_rows = size_t{1} << 20;
};

// To be used by one thread. Nothing that is read from the area is trusted: it is read once, checked, and counted as
// damaged if it cannot be.
class RecorderDrain {
 public:
  RecorderDrain(const RecordArea& area, uint64_t clock_base_ns, const DrainOptions& options);

  // Takes what has been written, and releases the rows whose place is known.
  //
  // Why an exit comes before the calls made for it, though its row is written after theirs: their thread sets
  // exit_open_ns, with a full barrier, when the exit begins and clears it when the exit's row is in a ring. A round
  // reads the clock (t0), then exit_open_ns of every thread, then the heads, and releases a thread's rows that began
  // before both. If the exit was open, the calls inside it began no earlier than it did. If it was not open yet, they
  // began after t0. If it was over, its row is before the heads that are read then. So a call is released in no earlier
  // round than its exit, and the rows of a round are sorted by their start. A thread's ring is taken whole or not at
  // all, as the exit may be its last row.
  //
  // Returns whether so much was there that the next round is due at once.
  bool Round() { return Run(false); }

  // The last round: all is taken and released, and exits that are open have no end.
  void Finish() { Run(true); }

  // A `mark` row, with the rows of the next round.
  void Mark(std::string name, uint64_t ts_ns);

  // Rows that were released.
  ReadyRows& ready() { return ready_; }
  const RecorderTotals& totals() const { return totals_; }

 private:
  struct Thread {
    uint32_t index;
    uint32_t pid = 0, tid = 0;
    uint64_t found_ns = 0;
    uint64_t tail = 0;
    bool gone = false;  // ended without saying so
    // As this round has found it: ended, ring taken, start of the exit that it is inside of.
    bool ended = false, taken = false;
    uint64_t open_ns = 0;
    uint64_t released_ns = 0;              // rows that began before this were released
    uint64_t last_ns = 0;                  // start of the last row that was
    uint64_t last_exit_ns = 0;             // start of the last exit that it wrote a row of
    uint64_t forced_ns = 0;                // start of an exit that is open, and was written without its end
    uint64_t dropped = 0, blocked_ns = 0;  // in the totals
    std::vector<RecordedRow> held;
  };
  struct Vcpu {
    uint32_t index;
    uint32_t pid;
    VcpuCounters counters;
    bool gone = false;   // its process ended
    bool ended = false;  // or the vCPU did, as this round has found it
  };

  bool Run(bool last);
  void FindThreads(bool all);
  void FindVcpus(bool all);
  void FindEnded();
  size_t TakeRings(bool last);
  size_t TakeRing(Thread& thread);
  void TakeRecord(Thread& thread, const Record& record, uint64_t now_ns);
  void Release(Thread& thread, uint64_t before_ns);
  // Ends the wait for an exit whose calls are too many to be held.
  void ForceExit(Thread& thread);
  // Of a thread that ended: no call of its own will end them.
  void CloseExits(Thread& thread);
  void GiveBack(const Thread& thread);

  // Writes a vCPU's open exit without its end, if it has one; with `ts_ns`, if that is when it began.
  bool CloseExit(const Vcpu& vcpu, uint64_t ts_ns = 0);
  void Sample(Vcpu& vcpu, bool last);

  void CountLosses(Thread& thread);
  void CountAreaLosses();
  void AddLost(const char* what, uint64_t count, const Thread* thread = nullptr);

  const RecordArea& area_;
  const uint64_t clock_base_ns_;
  const DrainOptions options_;
  ReadyRows ready_;
  RecordedProcesses processes_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<bool> is_thread_known_;
  uint32_t past_threads_ = 0;  // all slots in use were before this one
  size_t first_thread_ = 0;    // whose ring is taken first
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  std::vector<bool> is_vcpu_known_;
  uint32_t past_vcpus_ = 0;
  // Starts of exits that were written without their end, and whose own rows may still come.
  std::unordered_set<uint64_t> forced_exits_;
  uint64_t round_ns_ = 0;  // when this round began
  uint64_t own_ns_;        // time of the last mark or loss of no thread: these do not go back in time either
  uint64_t next_check_ns_ = 0;
  uint64_t last_sample_ns_;
  RecorderTotals totals_;
  uint64_t told_damaged_ = 0;  // of the total, what `lost` rows say
};

}  // namespace cvmtrace
