#include "guest_vcpu_run.h"

#include <errno.h>
#include <linux/kvm_para.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include <algorithm>

#include "clock.h"
#include "exit_answer.h"
#include "kvm_abi.h"

namespace cvmtrace {
namespace {

// How far the guest's TSC may be from its stated frequency, as seen over a run: calibration by the kernel is good to a
// fraction of a percent, and both readings were late by up to some microseconds.
constexpr double kTscTolerance = 0.05;
constexpr uint64_t kTscSlackNs = 5'000'000;

constexpr uint64_t kInvalidOpcode = 6;

// After so long, the frequency that was seen is better than the stated one.
constexpr uint64_t kMeasuredAfterNs = 50'000'000;

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

unsigned long long Hex(uint64_t value) { return value; }

bool IsGuests(Op op) { return IsExit(op) || op == Op::guest_touch; }

uint64_t FirstPage(const OpRow& row) { return row.gpa / kPageSize * kPageSize; }

uint64_t PagesOf(const OpRow& row) { return (row.gpa % kPageSize + row.len + kPageSize - 1) / kPageSize; }

}  // namespace

VcpuRun::VcpuRun(const GuestRunContext& context, Vcpu& vcpu, Batch& batch)
    : context_(context),
      handlers_(Handlers()),
      vcpu_(vcpu),
      batch_(batch),
      op_run_(context.objects, context.stop, context.clock_base_ns),
      ticks_per_ns_(static_cast<double>(vcpu.tsc_khz()) / 1e6) {
  requests_.reserve(kListRequests);
}

std::string VcpuRun::Check(const Batch& batch, const GuestArea& area) {
  size_t answers_end = 0;
  for (size_t i = 0; i < batch.count(); ++i) {
    const OpRow& row = batch.op_row(i);
    if (i < answers_end || !IsGuests(row.op)) continue;
    if (IsExit(row.op)) answers_end = i + 1 + row.peer;
    constexpr Present kNeeded = present::gpa | present::len;
    const char* const name = kOpNames[static_cast<size_t>(row.op)];
    if ((row.present & kNeeded) != kNeeded || row.len == 0) {
      return Format("operation %zu: %s needs gpa and a len above 0", i, name);
    }
    if (row.op == Op::exit_map_gpa_range) {
      if (!(row.present & present::attrs)) return Format("operation %zu: %s needs attrs", i, name);
      if (row.len % kPageSize == 0) continue;
      return Format("operation %zu: %s is of whole 4 KiB pages, not of %llu bytes", i, name, Hex(row.len));
    }
    if (row.gpa < area.end() && row.gpa + row.len > area.gpa()) {
      return Format("operation %zu: %s of gpa 0x%llx, len 0x%llx is in the memory of the guest program, from 0x%llx", i,
                    name, Hex(row.gpa), Hex(row.len), Hex(area.gpa()));
    }
  }
  return {};
}

std::optional<Error> VcpuRun::Run() {
  Vcpu::TakeKick();
  if (auto error = vcpu_.Restart()) return error;
  start_ = vcpu_.ReadClocks();
  done_ = LoadList() == 0;
  while (!done_ && !failure_ && Enter()) OnExit(NowNs());
  // What is left to be done at the next entry would otherwise be done to the next batch.
  CloseExit();
  vcpu_.Settle();
  CatchUp();
  if (caught_up_ < requests_.size() && rows_ > requests_[caught_up_].first) TakeLag(caught_up_);
  ConvertTimes();
  batch_.rows = rows_;
  batch_.stopped = rows_ < batch_.count();
  return failure_;
}

void VcpuRun::Fail(std::string what) { FailCall(Error{0, "", std::move(what)}); }

void VcpuRun::FailCall(Error error) {
  if (failure_) return;
  error.detail = Where() + error.detail;
  failure_ = std::move(error);
}

// Fills the list with what is next in the batch, and returns how many requests that is.
size_t VcpuRun::LoadList() {
  requests_.clear();
  caught_up_ = 0;
  loaded_ = vcpu_.ReadClocks();
  if (loaded_.ns - start_.ns > kMeasuredAfterNs) {
    ticks_per_ns_ = static_cast<double>(loaded_.tsc - start_.tsc) / static_cast<double>(loaded_.ns - start_.ns);
  }
  GuestRequest* const list = vcpu_.list();
  while (requests_.size() < kListRequests && next_row_ < batch_.count()) {
    size_t end = next_row_ + 1;
    GuestRequest request = MakeRequest(next_row_, &end);
    if (const uint64_t pace_ns = batch_.op_row(next_row_).pace_ns) SetDue(request, pace_ns);
    list[requests_.size()] = request;
    requests_.push_back({next_row_, end});
    next_row_ = end;
  }
  list[requests_.size()] = {.kind = GUEST_END};
  // The guest says so itself when it runs.
  vcpu_.control().current = vcpu_.control().list;
  return requests_.size();
}

GuestRequest VcpuRun::MakeRequest(size_t first, size_t* end) const {
  const OpRow& row = batch_.op_row(first);
  if (IsExit(row.op)) *end = first + 1 + row.peer;
  switch (row.op) {
    case Op::exit_map_gpa_range:
      return {.kind = GUEST_MAP_GPA_RANGE, .gpa = row.gpa, .pages = row.len / kPageSize, .attrs = row.attrs};
    case Op::exit_memory_fault:
      return {.kind = GUEST_WRITE, .gpa = FirstPage(row), .pages = PagesOf(row)};
    case Op::guest_touch:
      return {.kind = row.flags & 1 ? uint32_t{GUEST_WRITE} : uint32_t{GUEST_READ},
              .gpa = FirstPage(row),
              .pages = PagesOf(row)};
    default:
      // The guest waits, so that what has a time of its own is a request of its own.
      while (*end < batch_.count() && !IsGuests(batch_.op_row(*end).op) && batch_.op_row(*end).pace_ns == 0) ++*end;
      return {.kind = GUEST_HOST};
  }
}

void VcpuRun::SetDue(GuestRequest& request, uint64_t pace_ns) const {
  // As in the executor: the bound only keeps the sum from overflowing.
  const double scaled = std::min(static_cast<double>(pace_ns) * batch_.options().pace_factor, 9e15);
  if (batch_.options().pace == Pace::kRelative) {
    request.pacing = GUEST_RELATIVE;
    request.due = Ticks(scaled);
    return;
  }
  const double from_now = static_cast<double>(context_.absolute_start_ns) + scaled - static_cast<double>(loaded_.ns);
  request.pacing = GUEST_ABSOLUTE;
  request.due = loaded_.tsc + Ticks(from_now);
}

int64_t VcpuRun::Ticks(double ns) const { return llround(ns * ticks_per_ns_); }

// Lets the guest run until it needs the host. False if it is to stop.
bool VcpuRun::Enter() {
  for (;;) {
    if (stopped_at_failure_ || context_.stop.load(std::memory_order_relaxed)) return false;
    CloseExit();
    const int error = vcpu_.Enter();
    if (error == 0) return true;
    // For any other errno the exit reason is not of this entry.
    if (error == EFAULT && vcpu_.run().exit_reason == KVM_EXIT_MEMORY_FAULT) return true;
    if (error != EINTR) {
      CatchUp();
      FailCall(Error{error, "ioctl(KVM_RUN)", vcpu_.DescribeRegisters()});
      return false;
    }
    Vcpu::TakeKick();
  }
}

// The guest runs again.
void VcpuRun::CloseExit() {
  if (!open_exit_) return;
  open_exit_->dur_ns = NowNs() - context_.clock_base_ns - open_exit_->ts_ns;
  open_exit_->present |= present::dur_ns;
  open_exit_ = nullptr;
}

void VcpuRun::OnExit(uint64_t now) {
  CatchUp();
  if (failure_) return;
  const kvm_run& run = vcpu_.run();
  switch (run.exit_reason) {
    case KVM_EXIT_HYPERCALL:
      return OnHypercall(now);
    case KVM_EXIT_MEMORY_FAULT:
      return OnMemoryFault(now);
    case KVM_EXIT_IO:
      if (run.io.direction == KVM_EXIT_IO_OUT) return OnPort();
      break;
    case KVM_EXIT_MMIO:
      return Fail(Format("%s gpa 0x%llx, where no memory slot is: KVM_EXIT_MMIO; ",
                         run.mmio.is_write ? "wrote to" : "read", Hex(run.mmio.phys_addr)) +
                  vcpu_.DescribeRegisters());
    case KVM_EXIT_FAIL_ENTRY:
      return Fail(
          Format("KVM_EXIT_FAIL_ENTRY, hardware reason 0x%llx; ", Hex(run.fail_entry.hardware_entry_failure_reason)) +
          vcpu_.DescribeRegisters());
    case KVM_EXIT_INTERNAL_ERROR:
      return Fail(Format("KVM_EXIT_INTERNAL_ERROR, suberror %u; ", run.internal.suberror) + vcpu_.DescribeRegisters());
    default:
      break;
  }
  Fail(ExitReasonName(run.exit_reason) + "; " + vcpu_.DescribeRegisters());
}

void VcpuRun::OnHypercall(uint64_t now) {
  kvm_run& run = vcpu_.run();
  const size_t current = vcpu_.current();
  // Whatever comes of it, the guest must not take it for done.
  run.hypercall.ret = EINVAL;
  const OpRow* const row = current < requests_.size() ? &batch_.op_row(requests_[current].first) : nullptr;
  const auto& args = run.hypercall.args;
  if (!row || row->op != Op::exit_map_gpa_range || run.hypercall.nr != KVM_HC_MAP_GPA_RANGE || args[0] != row->gpa ||
      args[1] != row->len / kPageSize || args[2] != row->attrs) {
    return Fail(Format("the exit is not the one that was planned: hypercall %llu, gpa 0x%llx, %llu pages, attrs 0x%llx",
                       Hex(run.hypercall.nr), Hex(args[0]), Hex(args[1]), Hex(args[2])));
  }
  Request& request = requests_[current];
  Answer(request, now);
  run.hypercall.ret = request.answered ? static_cast<uint64_t>(request.answer) : EINVAL;
}

void VcpuRun::OnPort() {
  const kvm_run& run = vcpu_.run();
  const size_t current = vcpu_.current();
  switch (run.io.port) {
    case GUEST_PORT_END:
      done_ = LoadList() == 0;
      return;
    case GUEST_PORT_HOST:
      if (current >= requests_.size()) break;
      RunRows(requests_[current].first, requests_[current].end);
      return;
    case GUEST_PORT_EXCEPTION:
      return OnException();
    default:
      break;
  }
  Fail(Format("unexpected write to port 0x%x; ", run.io.port) + vcpu_.DescribeRegisters());
}

void VcpuRun::OnException() {
  const GuestControl& control = vcpu_.control();
  const bool at_hypercall = control.vector == kInvalidOpcode && caught_up_ < requests_.size() &&
                            batch_.op_row(requests_[caught_up_].first).op == Op::exit_map_gpa_range;
  if (at_hypercall) return Fail("this KVM does not know the hypercall instruction of the host's processor");
  Fail(Format("exception %llu (error code 0x%llx) at rip 0x%llx, cr2 0x%llx; ", Hex(control.vector),
              Hex(control.error_code), Hex(control.rip), Hex(control.cr2)) +
       vcpu_.DescribeRegisters());
}

void VcpuRun::OnMemoryFault(uint64_t now) {
  const KvmMemoryFault fault = MemoryFaultOf(vcpu_.run());
  const size_t current = vcpu_.current();
  const auto unplanned = [&](const char* what) {
    Fail(Format("%s: KVM_EXIT_MEMORY_FAULT at gpa 0x%llx, size 0x%llx, flags 0x%llx", what, Hex(fault.gpa),
                Hex(fault.size), Hex(fault.flags)));
  };
  if (current >= requests_.size()) return unplanned("the exit is not one that was planned");
  Request& request = requests_[current];
  OpRow& row = batch_.op_row(request.first);
  if (row.op == Op::guest_touch) return OnFaultingTouch(fault.gpa, now);
  if (row.op != Op::exit_memory_fault) return unplanned("the exit is not one that was planned");
  if (request.answered) return unplanned("the memory that a fault was answered with faults again");
  if (fault.gpa != FirstPage(row) || ((row.present & present::flags) && fault.flags != row.flags)) {
    return unplanned("the exit is not the one that was planned");
  }
  row.gpa = fault.gpa;
  row.attrs = fault.size;
  row.flags = fault.flags;
  row.present |= present::attrs | present::flags;
  Answer(request, now);
  // Without the memory it would fault for ever.
  if (request.answered && request.answer != 0) {
    if (auto error = vcpu_.SkipRequest()) FailCall(*error);
  }
}

// As a touch by the host ends where there is no memory: with EFAULT, and the pages that were touched before.
void VcpuRun::OnFaultingTouch(uint64_t fault_gpa, uint64_t now) {
  const size_t current = vcpu_.current();
  OpRow& row = batch_.op_row(requests_[current].first);
  GuestRequest& request = vcpu_.list()[current];
  request.end = start_.tsc + Ticks(static_cast<double>(now - start_.ns));
  TakeTouch(row, request);
  rows_ = requests_[current].end;
  row.error = EFAULT;
  row.result = static_cast<int64_t>((fault_gpa - FirstPage(row)) / kPageSize);
  CountFailure();
  if (auto error = vcpu_.SkipRequest()) FailCall(*error);
}

// Runs what was planned for the exit that began at `exit_ns`.
void VcpuRun::Answer(Request& request, uint64_t exit_ns) {
  OpRow& row = batch_.op_row(request.first);
  row.ts_ns = exit_ns - context_.clock_base_ns;
  row.present &= static_cast<Present>(~(present::dur_ns | present::result));
  rows_ = request.first + 1;
  const uint16_t first_error = RunRows(request.first + 1, request.end);
  if (rows_ < request.end && !stopped_at_failure_) return;
  request.answered = true;
  request.answer = AnswerOf(first_error);
  row.result = request.answer;
  row.present |= present::result;
  open_exit_ = &row;
}

// Runs operations of the VMM, and returns the first errno.
uint16_t VcpuRun::RunRows(size_t first, size_t end) {
  uint16_t first_error = 0;
  for (size_t i = first; i < end; ++i) {
    if (context_.stop.load(std::memory_order_relaxed)) break;
    OpRow& row = batch_.op_row(i);
    op_run_.Select(row);
    // The other vCPUs read the table of objects at the same time.
    if (ChangesObjects(row.op)) {
      op_run_.Skip(EINVAL);
    } else {
      handlers_[row.op](op_run_);
    }
    rows_ = i + 1;
    if (!row.error) continue;
    if (first_error == 0) first_error = row.error;
    CountFailure();
    if (stopped_at_failure_) break;
  }
  return first_error;
}

void VcpuRun::CountFailure() {
  ++batch_.failures;
  if (!batch_.options().stop_at_failure) return;
  stopped_at_failure_ = true;
  context_.stop_all();
}

void VcpuRun::CatchUp() {
  const size_t current = std::min(vcpu_.current(), requests_.size());
  for (; caught_up_ < current; ++caught_up_) {
    const Request& request = requests_[caught_up_];
    const GuestRequest& done = vcpu_.list()[caught_up_];
    OpRow& row = batch_.op_row(request.first);
    if (row.op == Op::guest_touch) {
      if (!row.error) TakeTouch(row, done);
    } else if (row.op == Op::exit_map_gpa_range) {
      // KVM turns down what it finds wrong without asking the VMM.
      if (!request.answered) {
        return Fail(Format("the hypercall for gpa 0x%llx, len 0x%llx came back with %lld without an exit", Hex(row.gpa),
                           Hex(row.len), static_cast<long long>(done.answer)));
      }
      if ((done.answer == 0) != (request.answer == 0)) {
        return Fail(Format("the guest was answered %lld, and saw %lld", static_cast<long long>(request.answer),
                           static_cast<long long>(done.answer)));
      }
    } else if (row.op == Op::exit_memory_fault && !request.answered) {
      return Fail(Format("gpa 0x%llx was to fault, and did not", Hex(row.gpa)));
    }
    TakeLag(caught_up_);
    rows_ = request.end;
  }
}

// Times of the guest are ticks until both ends of the run are known.
void VcpuRun::TakeTouch(OpRow& row, const GuestRequest& done) {
  row.ts_ns = static_cast<uint64_t>(done.start);
  row.dur_ns = static_cast<uint64_t>(done.end - done.start);
  row.result = static_cast<int64_t>(PagesOf(row));
}

void VcpuRun::TakeLag(size_t index) {
  OpRow& row = batch_.op_row(requests_[index].first);
  if (!row.pace_ns) return;
  const GuestRequest& request = vcpu_.list()[index];
  row.lag_ns = static_cast<uint64_t>(request.due);
  row.present |= present::lag_ns;
}

void VcpuRun::ConvertTimes() {
  const ClockPair end = vcpu_.ReadClocks();
  const auto ticks = static_cast<double>(end.tsc - start_.tsc);
  const auto ns = static_cast<double>(end.ns - start_.ns);
  const double stated_ns = ticks * 1e6 / static_cast<double>(vcpu_.tsc_khz());
  if (fabs(ns - stated_ns) > ns * kTscTolerance + kTscSlackNs) {
    Fail(Format("the guest's TSC cannot be trusted: by it the run took %.0f ns, by the host's clock %.0f ns", stated_ns,
                ns));
  }
  const double ns_per_tick = ticks > 0 ? ns / ticks : 0;
  const auto at = [&](uint64_t tsc) {
    const double since_base = static_cast<double>(start_.ns - context_.clock_base_ns) +
                              static_cast<double>(static_cast<int64_t>(tsc) - start_.tsc) * ns_per_tick;
    return static_cast<uint64_t>(std::max(since_base, 0.0));
  };
  for (size_t i = 0; i < rows_; ++i) {
    OpRow& row = batch_.op_row(i);
    if (row.op == Op::guest_touch) {
      row.ts_ns = at(row.ts_ns);
      row.dur_ns = static_cast<uint64_t>(static_cast<double>(row.dur_ns) * ns_per_tick);
    }
    if (row.present & present::lag_ns) {
      const uint64_t due = at(row.lag_ns);
      row.lag_ns = row.ts_ns > due ? row.ts_ns - due : 0;
    }
  }
}

// "operation 17 (guest_touch): "
std::string VcpuRun::Where() const {
  if (caught_up_ >= requests_.size()) return "after the last operation of a list: ";
  const size_t row = requests_[caught_up_].first;
  return Format("operation %zu (%s): ", row, kOpNames[static_cast<size_t>(batch_.op_row(row).op)]);
}

}  // namespace cvmtrace
