// KVM_RUN of a guest that writes to a port, asks for a conversion and touches memory that it does not have.
#include <errno.h>
#include <linux/kvm_para.h>
#include <sys/ioctl.h>

#include "../core/kvm_abi.h"
#include "testing/recording.h"

namespace cvmtrace::preload {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kCode = 0x1000;
constexpr uint32_t kHandler = 0x2000;
constexpr uint16_t kPort = 0x10;
constexpr uint8_t kHalt = 0xf4;

// A guest in real mode, and what it does from address 0x1000 on.
class Guest {
 public:
  explicit Guest(const std::vector<uint8_t>& code, unsigned long index = 0) {
    const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) _exit(kCannot);
    vm_ = ::ioctl(kvm, KVM_CREATE_VM, 0ul);
    EXPECT(vm_ >= 0);
    kvm_enable_cap hypercalls = {};
    hypercalls.cap = KVM_CAP_EXIT_HYPERCALL;
    hypercalls.args[0] = 1u << KVM_HC_MAP_GPA_RANGE;
    if (::ioctl(vm_, KVM_ENABLE_CAP, &hypercalls) != 0) _exit(kCannot);
    void* const memory = ::mmap(nullptr, 16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(static_cast<char*>(memory) + kCode, code.data(), code.size());
    // Each interrupt vector leads to a halt: a host that does not know the hypercall's instruction ends there.
    for (uint32_t vector = 0; vector < 256; ++vector) static_cast<uint32_t*>(memory)[vector] = kHandler;
    static_cast<uint8_t*>(memory)[kHandler] = kHalt;
    kvm_userspace_memory_region region = {0, 0, 0, 16 * kPage, reinterpret_cast<uint64_t>(memory)};
    EXPECT(::ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region) == 0);
    vcpu_ = ::ioctl(vm_, KVM_CREATE_VCPU, index);
    EXPECT(vcpu_ >= 0);
    run_ = static_cast<kvm_run*>(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_, 0));
    static KvmCpuid2 cpuid = {.nent = KvmCpuid2::kEntries};
    EXPECT(::ioctl(kvm, kKvmGetSupportedCpuid, &cpuid) == 0);
    for (uint32_t i = 0; i < cpuid.nent; ++i) {
      if (cpuid.entries[i].function == KVM_CPUID_FEATURES) cpuid.entries[i].eax |= 1u << KVM_FEATURE_HC_MAP_GPA_RANGE;
    }
    EXPECT(::ioctl(vcpu_, kKvmSetCpuid2, &cpuid) == 0);
    kvm_sregs special;
    EXPECT(::ioctl(vcpu_, KVM_GET_SREGS, &special) == 0);
    special.cs.base = special.cs.selector = 0;
    special.ds.base = special.ds.selector = 0;
    EXPECT(::ioctl(vcpu_, KVM_SET_SREGS, &special) == 0);
    kvm_regs registers = {};
    registers.rip = kCode;
    registers.rflags = 2;
    EXPECT(::ioctl(vcpu_, KVM_SET_REGS, &registers) == 0);
    ::close(kvm);
  }

  int vm() const { return vm_; }
  int fd() const { return vcpu_; }
  kvm_run& run() { return *run_; }

  uint32_t Run() {
    EXPECT(::ioctl(vcpu_, KVM_RUN, 0) == 0);
    return run_->exit_reason;
  }

 private:
  int vm_;
  int vcpu_;
  kvm_run* run_;
};

// out imm8, al
const std::vector<uint8_t> kThreeWritesAndHalt = {0xe6, kPort, 0xe6, kPort, 0xe6, kPort, kHalt};

// mov eax, 12; mov ebx, gpa; mov ecx, pages; mov edx, attrs; vmmcall, which KVM takes for vmcall where that is meant.
std::vector<uint8_t> Hypercall(uint32_t gpa, uint32_t pages, uint32_t attrs) {
  std::vector<uint8_t> code;
  const auto move = [&](uint8_t opcode, uint32_t value) {
    code.insert(code.end(), {0x66, opcode});
    for (int shift = 0; shift < 32; shift += 8) code.push_back(static_cast<uint8_t>(value >> shift));
  };
  move(0xb8, KVM_HC_MAP_GPA_RANGE);
  move(0xbb, gpa);
  move(0xb9, pages);
  move(0xba, attrs);
  code.insert(code.end(), {0x0f, 0x01, 0xd9});
  return code;
}

TARGET(ports) {
  Guest guest(kThreeWritesAndHalt, 5);
  for (int i = 0; i < 3; ++i) EXPECT(guest.Run() == KVM_EXIT_IO);
  EXPECT(guest.Run() == KVM_EXIT_HLT);
  guest.run().immediate_exit = 1;
  EXPECT(::ioctl(guest.fd(), KVM_RUN, 0) == -1 && errno == EINTR);
  return 0;
}

TEST("exits are counted by reason, with the time in the guest and out of it") {
  TestRecording recording;
  RUN_TARGET(recording, "ports");
  VcpuSlot& vcpu = recording.vcpu(0);
  CHECK(vcpu.state == kSlotClaimed && vcpu.vcpu == 5 && vcpu.obj == 2 && vcpu.vm == 1);
  CHECK(vcpu.pid != 0 && vcpu.pid == vcpu.tid);
  CHECK(vcpu.runs == 5 && vcpu.run_ns > 0);
  CHECK(vcpu.count[KVM_EXIT_IO] == 3 && vcpu.out_ns[KVM_EXIT_IO] > 0);
  CHECK(vcpu.count[KVM_EXIT_HLT] == 1 && vcpu.out_ns[KVM_EXIT_HLT] > 0);
  CHECK(vcpu.count[kExitFailed] == 1 && vcpu.out_ns[kExitFailed] == 0);
  CHECK(vcpu.entered_ns == 0 && vcpu.returned_ns != 0 && vcpu.last_reason == kExitFailed);
  CHECK(vcpu.open == 0);
  CHECK(recording.vcpu(1).state == kSlotFree);
  for (const Record& row : recording.Rows()) CHECK(row.op != Op::kvm_run && row.op != Op::exit_map_gpa_range);
}

TARGET(conversions) {
  std::vector<uint8_t> code = Hypercall(0x3000, 2, 16);
  const std::vector<uint8_t> second = Hypercall(0x8000, 1, 0);
  code.insert(code.end(), second.begin(), second.end());
  code.push_back(kHalt);
  Guest guest(code, 1);
  const int ram = ::memfd_create("ram", 0);
  EXPECT(::ftruncate(ram, 16 * kPage) == 0);
  if (guest.Run() != KVM_EXIT_HYPERCALL) _exit(kCannot);
  EXPECT(::fallocate(ram, 3, 0x3000, 2 * kPage) == 0);
  guest.run().hypercall.ret = EINVAL;
  EXPECT(guest.Run() == KVM_EXIT_HYPERCALL);
  std::thread([&] { ::fallocate(ram, 3, 0, kPage); }).join();
  // Another thread goes on.
  std::thread([&] {
    guest.run().hypercall.ret = 0;
    EXPECT(guest.Run() == KVM_EXIT_HLT);
  }).join();
  EXPECT(::fallocate(ram, 3, 4 * kPage, kPage) == 0);
  return 0;
}

TEST("a hypercall to convert is a row until its vCPU runs again, and owns its thread's calls") {
  TestRecording recording;
  RUN_TARGET(recording, "conversions");
  const auto exits = recording.Rows(Op::exit_map_gpa_range);
  REQUIRE(exits.size() == 2);
  CHECK(Has(exits[0], kHasGpa | kHasLen | kHasAttrs | kHasVcpu | kHasDur | kHasResult | kHasObj));
  CHECK(exits[0].gpa == 0x3000 && exits[0].len == 2 * kPage && exits[0].attrs == 16 && exits[0].vcpu == 1);
  CHECK(exits[0].result == EINVAL && exits[0].obj == 1 && exits[0].error == 0);
  CHECK(exits[1].gpa == 0x8000 && exits[1].attrs == 0 && exits[1].result == 0);
  const auto calls = recording.Rows(Op::ram_punch_hole);
  REQUIRE(calls.size() == 3);
  // Of the first slot, the thread that ran the guest at first.
  CHECK(Has(calls[0], kHasVcpu) && calls[0].vcpu == 1 && calls[0].offset == 0x3000);
  CHECK(calls[0].ts_ns >= exits[0].ts_ns);
  CHECK(calls[0].ts_ns + calls[0].dur_ns <= exits[0].ts_ns + exits[0].dur_ns);
  VcpuSlot& vcpu = recording.vcpu(0);
  CHECK(vcpu.runs == 3 && vcpu.count[KVM_EXIT_HYPERCALL] == 0 && vcpu.count[KVM_EXIT_HLT] == 1);
  CHECK(vcpu.open == 0);
  for (uint32_t i = 0; i < 3; ++i) CHECK(recording.slot(i).exit_open_ns == 0);
}

TARGET(killed_in_exit) {
  Guest guest(Hypercall(0x3000, 2, 16));
  if (guest.Run() != KVM_EXIT_HYPERCALL) _exit(kCannot);
  ::raise(SIGKILL);
  return 0;
}

TEST("an exit that a killed target was answering is left open") {
  TestRecording recording;
  const int status = recording.Run("killed_in_exit");
  if (status == kCannot) SKIP("not on this host");
  REQUIRE(status == 128 + SIGKILL);
  VcpuSlot& vcpu = recording.vcpu(0);
  REQUIRE(vcpu.open == 1);
  CHECK(vcpu.exit.op == Op::exit_map_gpa_range && vcpu.exit.gpa == 0x3000 && vcpu.exit.ts_ns != 0);
  CHECK(!Has(vcpu.exit, kHasDur) && !Has(vcpu.exit, kHasResult) && Has(vcpu.exit, kHasVcpu));
  CHECK(recording.slot(0).exit_open_ns == vcpu.exit.ts_ns);
}

}  // namespace
}  // namespace cvmtrace::preload

RECORD_TEST_MAIN()
