// Operations on a KVM VM: Documentation/virt/kvm/api.rst.
#include <fcntl.h>
#include <sys/ioctl.h>

#include "handlers.h"
#include "kvm_abi.h"

namespace cvmtrace {
namespace {

void CreateVm(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  // Only needed for this one call, so it is not kept, and not part of its time.
  const ScopedFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) return run.Skip(errno);
  ScopedFd vm;
  const bool created = run.Time([&] {
    vm.reset(::ioctl(kvm.get(), KVM_CREATE_VM, run.attrs()));
    return vm ? 0 : -1;
  });
  if (!created) return;
  auto object = std::make_unique<Object>(Object{ObjectKind::kVm, std::move(vm), {}});
  object->vm_type = run.attrs();
  run.objects().Add(run.obj(), std::move(object));
}

// The shared side of a slot: a range of a ram object, or address 0 if there is none.
struct SharedSide {
  int error;
  uint64_t hva;
};

SharedSide FindSharedSide(const OpRun& run) {
  if (run.peer() == 0) return {0, 0};
  const Object* const ram = run.objects().Find(run.peer(), ObjectKind::kRam);
  if (!ram) return {EBADF, 0};
  if (!ram->Contains(run.offset(), run.len())) return {EINVAL, 0};
  return {0, ram->map.address() + run.offset()};
}

uint32_t SlotOf(uint64_t attrs) { return static_cast<uint32_t>(attrs); }
uint32_t GuestMemfdOf(uint64_t attrs) { return static_cast<uint32_t>(attrs >> 32); }

void SetUserMemoryRegion(OpRun& run) {
  if (!run.Has(present::obj | present::gpa | present::len | present::attrs)) return run.Skip(EINVAL);
  const Object* const vm = run.Find(run.obj(), ObjectKind::kVm);
  if (!vm) return run.Skip(EBADF);
  const auto [error, hva] = FindSharedSide(run);
  if (error) return run.Skip(error);
  kvm_userspace_memory_region region = {};
  region.slot = SlotOf(run.attrs());
  region.flags = static_cast<uint32_t>(run.flags());
  region.guest_phys_addr = run.gpa();
  region.memory_size = run.len();
  region.userspace_addr = hva;
  if (hva) run.SetHva(hva);
  run.Time([&] { return ::ioctl(vm->fd.get(), KVM_SET_USER_MEMORY_REGION, &region); });
}

void SetUserMemoryRegion2(OpRun& run) {
  if (!run.Has(present::obj | present::gpa | present::len | present::attrs)) return run.Skip(EINVAL);
  const Object* const vm = run.Find(run.obj(), ObjectKind::kVm);
  if (!vm) return run.Skip(EBADF);
  const auto [error, hva] = FindSharedSide(run);
  if (error) return run.Skip(error);
  KvmUserspaceMemoryRegion2 region = {};
  region.slot = SlotOf(run.attrs());
  region.flags = static_cast<uint32_t>(run.flags());
  region.guest_phys_addr = run.gpa();
  region.memory_size = run.len();
  region.userspace_addr = hva;
  if (const uint32_t number = GuestMemfdOf(run.attrs())) {
    const Object* const gmem = run.objects().Find(number, ObjectKind::kGuestMemfd);
    if (!gmem) return run.Skip(EBADF);
    region.guest_memfd = static_cast<uint32_t>(gmem->fd.get());
    region.guest_memfd_offset = run.offset();
  }
  if (hva) run.SetHva(hva);
  run.Time([&] { return ::ioctl(vm->fd.get(), KVM_SET_USER_MEMORY_REGION2, &region); });
}

void SetMemoryAttributes(OpRun& run) {
  if (!run.Has(present::obj | present::gpa | present::len | present::attrs)) return run.Skip(EINVAL);
  const Object* const vm = run.Find(run.obj(), ObjectKind::kVm);
  if (!vm) return run.Skip(EBADF);
  KvmMemoryAttributes attributes = {run.gpa(), run.len(), run.attrs(), run.flags()};
  run.Time([&] { return ::ioctl(vm->fd.get(), KVM_SET_MEMORY_ATTRIBUTES, &attributes); });
}

void CheckExtension(OpRun& run) {
  if (!run.Has(present::obj | present::attrs)) return run.Skip(EINVAL);
  const Object* const vm = run.Find(run.obj(), ObjectKind::kVm);
  if (!vm) return run.Skip(EBADF);
  run.Time([&] { return ::ioctl(vm->fd.get(), KVM_CHECK_EXTENSION, run.attrs()); });
}

}  // namespace

void RegisterKvmOps(HandlerTable& table) {
  table[Op::kvm_check_extension] = CheckExtension;
  table[Op::kvm_create_vm] = CreateVm;
  table[Op::kvm_set_user_memory_region] = SetUserMemoryRegion;
  table[Op::kvm_set_user_memory_region2] = SetUserMemoryRegion2;
  table[Op::kvm_set_memory_attributes] = SetMemoryAttributes;
}

}  // namespace cvmtrace
