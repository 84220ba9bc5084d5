// Operations on a guest_memfd: Documentation/virt/kvm/api.rst, KVM_CREATE_GUEST_MEMFD, and virt/kvm/guest_memfd.c for
// fallocate(2).
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "handlers.h"
#include "kvm_abi.h"
#include "touch.h"

namespace cvmtrace {
namespace {

void CreateGuestMemfd(OpRun& run) {
  if (!run.Has(present::obj | present::len)) return run.Skip(EINVAL);
  const Object* const vm = run.objects().Find(run.peer(), ObjectKind::kVm);
  if (!vm) return run.Skip(EBADF);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  KvmCreateGuestMemfd create = {run.len(), run.flags(), {}};
  ScopedFd fd;
  const bool created = run.Time([&] {
    fd.reset(::ioctl(vm->fd.get(), KVM_CREATE_GUEST_MEMFD, &create));
    return fd ? 0 : -1;
  });
  if (!created) return;
  auto gmem = std::make_unique<Object>(Object{ObjectKind::kGuestMemfd, std::move(fd), {}, run.len(), ENODEV});
  if (run.flags() & GUEST_MEMFD_FLAG_MMAP) {
    gmem->map = ScopedMap(::mmap(nullptr, run.len(), PROT_READ | PROT_WRITE, MAP_SHARED, gmem->fd.get(), 0), run.len());
    gmem->map_errno = gmem->map ? 0 : errno;
  }
  run.objects().Add(run.obj(), std::move(gmem));
}

Object* FindRange(OpRun& run) {
  if (!run.Has(present::obj | present::offset | present::len)) {
    run.Skip(EINVAL);
    return nullptr;
  }
  Object* const gmem = run.Find(run.obj(), ObjectKind::kGuestMemfd);
  if (!gmem) {
    run.Skip(EBADF);
    return nullptr;
  }
  if (!gmem->Contains(run.offset(), run.len())) {
    run.Skip(EINVAL);
    return nullptr;
  }
  return gmem;
}

template <int kMode>
void Fallocate(OpRun& run) {
  if (const Object* const gmem = FindRange(run)) {
    run.Time([&] {
      return ::fallocate(gmem->fd.get(), kMode, static_cast<off_t>(run.offset()), static_cast<off_t>(run.len()));
    });
  }
}

void Touch(OpRun& run) {
  const Object* const gmem = FindRange(run);
  if (!gmem) return;
  if (!gmem->map) return run.Skip(gmem->map_errno);
  TimeTouch(run, gmem->map);
}

// The in-place conversion series' ioctl; ENOTTY on every kernel without it.
void SetMemoryAttributes2(OpRun& run) {
  if (!run.Has(present::attrs)) return run.Skip(EINVAL);
  const Object* const gmem = FindRange(run);
  if (!gmem) return;
  KvmMemoryAttributes2 attributes = {run.offset(), run.len(), run.attrs(), run.flags(), 0, {}};
  if (!run.Time([&] { return ::ioctl(gmem->fd.get(), KVM_SET_MEMORY_ATTRIBUTES2, &attributes); }) &&
      attributes.error_offset != 0) {
    run.SetResult(static_cast<int64_t>(attributes.error_offset));
  }
}

}  // namespace

void RegisterGmemOps(HandlerTable& table) {
  table[Op::kvm_create_guest_memfd] = CreateGuestMemfd;
  table[Op::gmem_allocate] = Fallocate<FALLOC_FL_KEEP_SIZE>;
  table[Op::gmem_punch_hole] = Fallocate<FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE>;
  table[Op::gmem_touch] = Touch;
  table[Op::kvm_set_memory_attributes2] = SetMemoryAttributes2;
}

}  // namespace cvmtrace
