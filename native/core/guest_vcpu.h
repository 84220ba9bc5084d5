// A KVM vCPU that runs the guest program: Documentation/virt/kvm/api.rst.
#pragma once

#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>

#include <optional>
#include <string>

#include "guest_area.h"
#include "objects.h"
#include "result.h"

namespace cvmtrace {

// A moment on both clocks: the guest's TSC, and ns of CLOCK_MONOTONIC.
struct ClockPair {
  int64_t tsc;
  uint64_t ns;
};

// All but the signal is for one thread at a time. The object must outlive it.
class Vcpu {
 public:
  explicit Vcpu(const Object& object) : fd_(object.fd.get()), run_(reinterpret_cast<kvm_run*>(object.map.data())) {}

  // The signal that ends Enter() early. Blocked but in Enter(), so that it cannot come too early to be seen; nobody
  // handles it.
  static int KickSignal() { return SIGRTMAX; }
  static void TakeKick();

  // Makes it ready to run in that place of the area: CPUID, 64-bit mode, signals. What was done before is not repeated.
  std::optional<Error> SetUp(const GuestArea& area, size_t place);

  // To the program's start. Only after SetUp().
  std::optional<Error> Restart();
  // Past the request that the guest is at.
  std::optional<Error> SkipRequest();

  // KVM_RUN. 0, or the errno.
  int Enter();
  // Lets KVM finish what the last exit left to be done at the next entry, without running the guest.
  void Settle();

  kvm_run& run() const { return *run_; }
  GuestControl& control() const { return *area_->host_control(place_); }
  GuestRequest* list() const { return area_->host_list(place_); }
  // Index in the list of the request that the guest is at.
  size_t current() const { return (control().current - area_->list(place_)) / sizeof(GuestRequest); }
  const GuestArea& area() const { return *area_; }

  // Both clocks now, as close to each other as can be.
  ClockPair ReadClocks() const;
  // Ticks of the guest's TSC per ms, as KVM states it.
  uint64_t tsc_khz() const { return tsc_khz_; }

  // Where it stands, for a person: "rip 0x..., rsp 0x..., ...".
  std::string DescribeRegisters() const;

 private:
  std::optional<Error> SetCpuid();
  std::optional<Error> SetSegments();
  std::optional<Error> SetSignals();
  std::optional<Error> JumpTo(const char* label, bool reset);

  int fd_;
  kvm_run* run_;
  std::optional<GuestArea> area_;
  size_t place_ = 0;
  uint64_t tsc_khz_ = 0;
  uint64_t tsc_offset_ = 0;  // from this thread's TSC to the guest's
};

// "KVM_EXIT_SHUTDOWN" for 8; a number that has no name here is given as "exit reason 99".
std::string ExitReasonName(uint32_t reason);

}  // namespace cvmtrace
