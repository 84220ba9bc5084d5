// KVM and guest_memfd.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm_abi.h"
#include "objects.h"
#include "probe.h"
#include "residency.h"
#include "touch.h"

namespace cvmtrace {
namespace {

constexpr uint64_t kTrialSize = 2u << 20;

struct Capability {
  const char* key;
  const char* name;
  int number;
};

#define CVMTRACE_CAPABILITY(key, name) \
  { key, #name, name }
constexpr Capability kSystemCapabilities[] = {
    CVMTRACE_CAPABILITY("vm_types", KVM_CAP_VM_TYPES),
    CVMTRACE_CAPABILITY("exit_hypercall", KVM_CAP_EXIT_HYPERCALL),
    CVMTRACE_CAPABILITY("user_memory2", KVM_CAP_USER_MEMORY2),
    CVMTRACE_CAPABILITY("memory_fault_info", KVM_CAP_MEMORY_FAULT_INFO),
    CVMTRACE_CAPABILITY("memory_attributes", KVM_CAP_MEMORY_ATTRIBUTES),
    CVMTRACE_CAPABILITY("guest_memfd", KVM_CAP_GUEST_MEMFD),
    CVMTRACE_CAPABILITY("pre_fault_memory", KVM_CAP_PRE_FAULT_MEMORY),
    CVMTRACE_CAPABILITY("guest_memfd_flags", KVM_CAP_GUEST_MEMFD_FLAGS),
};
// Those whose answer depends on the VM's type.
constexpr Capability kVmCapabilities[] = {
    CVMTRACE_CAPABILITY("memory_attributes", KVM_CAP_MEMORY_ATTRIBUTES),
    CVMTRACE_CAPABILITY("guest_memfd", KVM_CAP_GUEST_MEMFD),
    CVMTRACE_CAPABILITY("guest_memfd_flags", KVM_CAP_GUEST_MEMFD_FLAGS),
};
#undef CVMTRACE_CAPABILITY

template <size_t kCount>
void ProbeCapabilities(ProbeLog& log, int fd, const std::string& prefix, const Capability (&capabilities)[kCount]) {
  for (const Capability& capability : capabilities) {
    log.Note(prefix + "cap." + capability.key, std::string("ioctl(KVM_CHECK_EXTENSION, ") + capability.name + ")",
             ::ioctl(fd, KVM_CHECK_EXTENSION, capability.number), true);
  }
}

// Binds the guest_memfd and, as in a VMM, anonymous memory to a slot.
bool ProbeSlot(ProbeLog& log, const std::string& prefix, int vm, int gmem, const ScopedMap& shared) {
  KvmUserspaceMemoryRegion2 region = {};
  region.flags = KVM_MEM_GUEST_MEMFD;
  region.memory_size = kTrialSize;
  region.userspace_addr = shared.address();
  region.guest_memfd = static_cast<uint32_t>(gmem);
  return log.Note(prefix + "slot", "ioctl(KVM_SET_USER_MEMORY_REGION2, KVM_MEM_GUEST_MEMFD)",
                  ::ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region));
}

void ProbeFile(ProbeLog& log, const std::string& prefix, int gmem) {
  constexpr off_t kSize = kTrialSize;
  const bool allocated =
      log.Note(prefix + "allocate", "fallocate(FALLOC_FL_KEEP_SIZE)", ::fallocate(gmem, FALLOC_FL_KEEP_SIZE, 0, kSize));
  if (allocated) {
    const auto pages = CountResidentPages(gmem, 0, kTrialSize / kPageSize);
    log.NoteError(prefix + "cachestat", "cachestat", pages ? 0 : pages.error().code,
                  pages ? std::optional(static_cast<int64_t>(pages.value())) : std::nullopt);
  }
  log.Note(prefix + "punch_hole", "fallocate(FALLOC_FL_PUNCH_HOLE)",
           ::fallocate(gmem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kSize));
}

void ProbeMapping(ProbeLog& log, const std::string& prefix, int gmem) {
  const ScopedMap map(::mmap(nullptr, kTrialSize, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0), kTrialSize);
  if (!log.Note(prefix + "mmap", "mmap(MAP_SHARED)", map ? 0 : -1)) return;
  const std::atomic<bool> cancelled{false};
  const Touched touched = TouchPages(map.data(), 1, true, cancelled);
  log.NoteError(prefix + "touch", "write to a mapped page", touched.error);
}

void ProbeGuestMemfd(ProbeLog& log, const std::string& prefix, int vm) {
  ScopedFd plain;
  ScopedFd mappable;
  constexpr uint64_t kTrialFlags[] = {0, GUEST_MEMFD_FLAG_MMAP, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED};
  for (const uint64_t flags : kTrialFlags) {
    KvmCreateGuestMemfd create = {kTrialSize, flags, {}};
    ScopedFd gmem(::ioctl(vm, KVM_CREATE_GUEST_MEMFD, &create));
    const std::string text = std::to_string(flags);
    if (!log.Note(prefix + "create." + text, "ioctl(KVM_CREATE_GUEST_MEMFD, flags " + text + ")", gmem ? 0 : -1))
      continue;
    (flags == 0 ? plain : mappable) = std::move(gmem);
  }
  if (!plain) return;
  const ScopedMap shared(
      ::mmap(nullptr, kTrialSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      kTrialSize);
  ProbeSlot(log, prefix, vm, plain.get(), shared);
  ProbeFile(log, prefix, plain.get());
  if (mappable) ProbeMapping(log, prefix, mappable.get());
}

void ProbeVm(ProbeLog& log, int kvm, int type) {
  const std::string number = std::to_string(type);
  const ScopedFd vm(::ioctl(kvm, KVM_CREATE_VM, type));
  if (!log.Note("kvm.vm." + number, "ioctl(KVM_CREATE_VM, " + number + ")", vm ? 0 : -1)) return;
  const std::string prefix = "kvm.vm." + number + ".";
  ProbeCapabilities(log, vm.get(), prefix, kVmCapabilities);
  ProbeGuestMemfd(log, type == 0 ? "gmem." : prefix + "gmem.", vm.get());
  KvmMemoryAttributes attributes = {0, kPageSize, KVM_MEMORY_ATTRIBUTE_PRIVATE, 0};
  log.Note(prefix + "set_memory_attributes", "ioctl(KVM_SET_MEMORY_ATTRIBUTES, KVM_MEMORY_ATTRIBUTE_PRIVATE)",
           ::ioctl(vm.get(), KVM_SET_MEMORY_ATTRIBUTES, &attributes));
}

}  // namespace

void ProbeKvm(ProbeLog& log) {
  const ScopedFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!log.Note("kvm.open", "open(/dev/kvm)", kvm ? 0 : -1)) return;
  log.Note("kvm.api_version", "ioctl(KVM_GET_API_VERSION)", ::ioctl(kvm.get(), KVM_GET_API_VERSION, 0), true);
  ProbeCapabilities(log, kvm.get(), "kvm.", kSystemCapabilities);
  for (int type = 0; type <= 5; ++type) ProbeVm(log, kvm.get(), type);
}

}  // namespace cvmtrace
