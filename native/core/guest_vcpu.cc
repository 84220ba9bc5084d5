#include "guest_vcpu.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <x86intrin.h>

#include <memory>

#include "clock.h"
#include "kvm_abi.h"

namespace cvmtrace {
namespace {

// Control registers of 64-bit mode, as of the AMD64 manual, volume 2, chapters 3 and 14.
constexpr uint64_t kCr0 = 0x80010033;  // PG, WP, NE, ET, MP, PE
constexpr uint64_t kCr4 = 0x20;        // PAE
constexpr uint64_t kEfer = 0x500;      // LMA, LME
constexpr uint64_t kRflags = 0x2;      // its fixed bit: interrupts are off

// Of several readings the one that took least is taken: the others were interrupted.
constexpr int kClockReadings = 8;

// AMD's instruction, and that of the vendors that follow it, is vmmcall.
bool UsesVmcall() {
  unsigned eax = 0;
  unsigned name[3] = {};
  __get_cpuid(0, &eax, &name[0], &name[2], &name[1]);
  return memcmp(name, "AuthenticAMD", 12) != 0 && memcmp(name, "HygonGenuine", 12) != 0;
}

kvm_segment Segment(uint16_t selector, uint8_t type, bool is_code) {
  kvm_segment segment = {};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = is_code;
  segment.db = !is_code;
  return segment;
}

}  // namespace

void Vcpu::TakeKick() {
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, KickSignal());
  const timespec at_once = {};
  while (::sigtimedwait(&kick, nullptr, &at_once) > 0) {
  }
}

std::optional<Error> Vcpu::SetUp(const GuestArea& area, size_t place) {
  if (area_ && *area_ == area && place_ == place) return {};
  if (!area_) {
    if (auto error = SetCpuid()) return error;
    if (auto error = SetSignals()) return error;
    const int khz = ::ioctl(fd_, KVM_GET_TSC_KHZ);
    if (khz <= 0) return Error{khz < 0 ? errno : ENOTSUP, "ioctl(KVM_GET_TSC_KHZ)", {}};
    tsc_khz_ = static_cast<uint64_t>(khz);
    // Not IA32_TSC by KVM_GET_MSRS: that is 0 where KVM found the processor faster than it had believed when it was
    // loaded.
    kvm_device_attr offset = {};
    offset.group = KVM_VCPU_TSC_CTRL;
    offset.attr = KVM_VCPU_TSC_OFFSET;
    offset.addr = reinterpret_cast<uint64_t>(&tsc_offset_);
    if (::ioctl(fd_, KVM_GET_DEVICE_ATTR, &offset) < 0) return LastError("ioctl(KVM_GET_DEVICE_ATTR)", "TSC offset");
  }
  area_ = area;
  place_ = place;
  if (auto error = SetSegments()) {
    area_.reset();
    return error;
  }
  return {};
}

// What KVM supports, which has the hypercall in it.
std::optional<Error> Vcpu::SetCpuid() {
  const ScopedFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) return LastError("open", "/dev/kvm");
  const auto cpuid = std::make_unique<KvmCpuid2>();
  cpuid->nent = KvmCpuid2::kEntries;
  if (::ioctl(kvm.get(), kKvmGetSupportedCpuid, cpuid.get()) < 0) return LastError("ioctl(KVM_GET_SUPPORTED_CPUID)");
  if (::ioctl(fd_, kKvmSetCpuid2, cpuid.get()) < 0) return LastError("ioctl(KVM_SET_CPUID2)");
  return {};
}

std::optional<Error> Vcpu::SetSegments() {
  kvm_sregs sregs;
  if (::ioctl(fd_, KVM_GET_SREGS, &sregs) < 0) return LastError("ioctl(KVM_GET_SREGS)");
  sregs.cr0 = kCr0;
  sregs.cr3 = area_->page_tables();
  sregs.cr4 = kCr4;
  sregs.efer = kEfer;
  sregs.cs = Segment(kCodeSelector, 11, true);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = Segment(kDataSelector, 3, false);
  sregs.gs.base = area_->control(place_);
  // Never used, but the processor checks that it is a busy task.
  sregs.tr = {};
  sregs.tr.limit = 0x67;
  sregs.tr.type = 11;
  sregs.tr.present = 1;
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.gdt = {};
  sregs.gdt.base = area_->gdt();
  sregs.gdt.limit = GuestArea::kGdtBytes - 1;
  sregs.idt = {};
  sregs.idt.base = area_->idt();
  sregs.idt.limit = GuestArea::kIdtBytes - 1;
  if (::ioctl(fd_, KVM_SET_SREGS, &sregs) < 0) return LastError("ioctl(KVM_SET_SREGS)");
  return {};
}

std::optional<Error> Vcpu::SetSignals() {
  // While the guest runs, the thread takes what it takes anyway, and the kick.
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  sigdelset(&mask, KickSignal());
  KvmSignalMask signal_mask = {sizeof signal_mask.sigset, {}};
  memcpy(signal_mask.sigset, &mask, sizeof signal_mask.sigset);
  if (::ioctl(fd_, kKvmSetSignalMask, &signal_mask) < 0) return LastError("ioctl(KVM_SET_SIGNAL_MASK)");
  return {};
}

std::optional<Error> Vcpu::JumpTo(const char* label, bool reset) {
  kvm_regs regs = {};
  if (!reset && ::ioctl(fd_, KVM_GET_REGS, &regs) < 0) return LastError("ioctl(KVM_GET_REGS)");
  regs.rip = area_->program() + static_cast<uint64_t>(label - guest_program);
  if (reset) {
    regs.rsp = area_->stack_end(place_);
    regs.rflags = kRflags;
  }
  if (::ioctl(fd_, KVM_SET_REGS, &regs) < 0) return LastError("ioctl(KVM_SET_REGS)");
  return {};
}

std::optional<Error> Vcpu::Restart() {
  GuestControl& block = control();
  block = {};
  block.list = block.current = area_->list(place_);
  block.use_vmcall = UsesVmcall();
  return JumpTo(guest_program_entry, true);
}

std::optional<Error> Vcpu::SkipRequest() { return JumpTo(guest_program_next_request, false); }

int Vcpu::Enter() {
  // Not all failures set it, and EFAULT means a memory fault only with KVM_EXIT_MEMORY_FAULT.
  run_->exit_reason = KVM_EXIT_UNKNOWN;
  return ::ioctl(fd_, KVM_RUN, 0) < 0 ? errno : 0;
}

void Vcpu::Settle() {
  run_->immediate_exit = 1;
  Enter();
  run_->immediate_exit = 0;
}

ClockPair Vcpu::ReadClocks() const {
  ClockPair best = {};
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < kClockReadings; ++i) {
    const uint64_t before = NowNs();
    const uint64_t tsc = __rdtsc();
    const uint64_t took = NowNs() - before;
    if (took >= least) continue;
    least = took;
    best = {static_cast<int64_t>(tsc + tsc_offset_), before + took / 2};
  }
  return best;
}

std::string Vcpu::DescribeRegisters() const {
  kvm_regs regs;
  kvm_sregs sregs;
  if (::ioctl(fd_, KVM_GET_REGS, &regs) < 0 || ::ioctl(fd_, KVM_GET_SREGS, &sregs) < 0) return "registers unknown";
  char text[320];
  const auto hex = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  snprintf(text, sizeof text,
           "rip 0x%llx, rsp 0x%llx, rax 0x%llx, rbx 0x%llx, rcx 0x%llx, rdx 0x%llx, rdi 0x%llx, r12 0x%llx, "
           "rflags 0x%llx, cr0 0x%llx, cr2 0x%llx, cr3 0x%llx, efer 0x%llx, program at 0x%llx",
           hex(regs.rip), hex(regs.rsp), hex(regs.rax), hex(regs.rbx), hex(regs.rcx), hex(regs.rdx), hex(regs.rdi),
           hex(regs.r12), hex(regs.rflags), hex(sregs.cr0), hex(sregs.cr2), hex(sregs.cr3), hex(sregs.efer),
           hex(area_ ? area_->program() : 0));
  return text;
}

std::string ExitReasonName(uint32_t reason) {
  switch (reason) {
#define CVMTRACE_EXIT_NAME(name) \
  case name:                     \
    return #name;
    CVMTRACE_EXIT_NAME(KVM_EXIT_UNKNOWN)
    CVMTRACE_EXIT_NAME(KVM_EXIT_EXCEPTION)
    CVMTRACE_EXIT_NAME(KVM_EXIT_IO)
    CVMTRACE_EXIT_NAME(KVM_EXIT_HYPERCALL)
    CVMTRACE_EXIT_NAME(KVM_EXIT_DEBUG)
    CVMTRACE_EXIT_NAME(KVM_EXIT_HLT)
    CVMTRACE_EXIT_NAME(KVM_EXIT_MMIO)
    CVMTRACE_EXIT_NAME(KVM_EXIT_IRQ_WINDOW_OPEN)
    CVMTRACE_EXIT_NAME(KVM_EXIT_SHUTDOWN)
    CVMTRACE_EXIT_NAME(KVM_EXIT_FAIL_ENTRY)
    CVMTRACE_EXIT_NAME(KVM_EXIT_INTR)
    CVMTRACE_EXIT_NAME(KVM_EXIT_INTERNAL_ERROR)
    CVMTRACE_EXIT_NAME(KVM_EXIT_SYSTEM_EVENT)
    CVMTRACE_EXIT_NAME(KVM_EXIT_MEMORY_FAULT)
#undef CVMTRACE_EXIT_NAME
    default:
      return "exit reason " + std::to_string(reason);
  }
}

}  // namespace cvmtrace
