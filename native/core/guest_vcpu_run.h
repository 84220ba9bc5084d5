// One batch, performed by the guest on one vCPU.
//
// The guest performs what guests do (exit_map_gpa_range, exit_memory_fault, guest_touch) and the time between; where
// one of its requests exits to user space, the operations that were planned for it answer. All other operations are the
// VMM's own: the guest stops and gives it the turn.
#pragma once

#include <stdint.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "batch.h"
#include "guest_vcpu.h"
#include "handlers.h"
#include "op_run.h"

namespace cvmtrace {

// What all vCPUs of a run have in common.
struct GuestRunContext {
  Objects& objects;
  uint64_t clock_base_ns;
  uint64_t absolute_start_ns;  // of absolute pacing
  const std::atomic<bool>& stop;
  std::function<void()> stop_all;
};

class VcpuRun {
 public:
  // The vCPU is set up.
  VcpuRun(const GuestRunContext& context, Vcpu& vcpu, Batch& batch);

  // Empty, or what a guest cannot do: an operand is missing or not whole pages, or its own area would be touched.
  static std::string Check(const Batch& batch, const GuestArea& area);

  // Performs the batch until its end, a stop or a failure, and sets its outcome. What went wrong, if that is no row.
  std::optional<Error> Run();

 private:
  // Rows [first, end) are a request: an exit with the operations that answer it, a touch, or the VMM's.
  struct Request {
    size_t first;
    size_t end;
    bool answered = false;
    int64_t answer = 0;
  };

  void Fail(std::string what);
  void FailCall(Error error);
  size_t LoadList();
  GuestRequest MakeRequest(size_t row, size_t* end) const;
  void SetDue(GuestRequest& request, uint64_t pace_ns) const;
  int64_t Ticks(double ns) const;

  bool Enter();
  void CloseExit();
  void OnExit(uint64_t now);
  void OnHypercall(uint64_t now);
  void OnPort();
  void OnMemoryFault(uint64_t now);
  void OnFaultingTouch(uint64_t fault_gpa, uint64_t now);
  void OnException();

  // Takes over what the guest did by itself since the last exit.
  void CatchUp();
  void TakeTouch(OpRow& row, const GuestRequest& done);
  void TakeLag(size_t index);
  uint16_t RunRows(size_t first, size_t end);
  void Answer(Request& request, uint64_t exit_ns);
  void CountFailure();
  void ConvertTimes();
  std::string Where() const;

  const GuestRunContext& context_;
  const HandlerTable& handlers_;
  Vcpu& vcpu_;
  Batch& batch_;
  OpRun op_run_;

  std::vector<Request> requests_;  // in the list, in its order
  size_t caught_up_ = 0;           // of these, how many are over
  size_t next_row_ = 0;            // the first that was not yet in a list
  size_t rows_ = 0;                // that ran
  OpRow* open_exit_ = nullptr;     // answered, but the guest does not run yet
  ClockPair start_ = {};
  ClockPair loaded_ = {};  // when the list was
  double ticks_per_ns_;
  bool done_ = false;
  bool stopped_at_failure_ = false;
  std::optional<Error> failure_;
};

}  // namespace cvmtrace
