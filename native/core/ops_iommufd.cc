// Address spaces of an iommufd and their mappings: Documentation/userspace-api/iommufd.rst. What a number stands for is
// an id inside the iommufd that made it, so that IOMMU_DESTROY ends it and closing the iommufd ends all.
#include <fcntl.h>

#include "backing.h"
#include "handlers.h"
#include "iommufd_abi.h"

namespace cvmtrace {
namespace {

void Open(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  ScopedFd fd;
  const bool opened = run.Time([&] {
    fd.reset(::open("/dev/iommu", O_RDWR | O_CLOEXEC));
    return fd ? 0 : -1;
  });
  if (opened) run.objects().Add(run.obj(), std::make_unique<Object>(Object{ObjectKind::kIommufd, std::move(fd), {}}));
}

void IoasAlloc(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const iommufd = run.objects().Find(run.peer(), ObjectKind::kIommufd);
  if (!iommufd) return run.Skip(EBADF);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  IommuIoasAlloc alloc = {sizeof alloc, static_cast<uint32_t>(run.flags()), 0};
  if (!run.Time([&] { return ::ioctl(iommufd->fd.get(), kIommuIoasAlloc, &alloc); })) return;
  auto ioas = std::make_unique<Object>(Object{ObjectKind::kIoas, {}, {}});
  ioas->iommufd = iommufd->fd.get();
  ioas->id = alloc.out_ioas_id;
  run.objects().Add(run.obj(), std::move(ioas));
}

void Destroy(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  Object* const object = run.objects().Find(run.obj());
  if (!object || object->id == 0) return run.Skip(EBADF);
  // A fault queue is in use (EBUSY) as long as its file is open; nobody reads it any more.
  object->fd.reset();
  IommuDestroy destroy = {sizeof destroy, object->id};
  if (run.Time([&] { return ::ioctl(object->iommufd, kIommuDestroy, &destroy); })) run.Remove(run.obj());
}

Object* FindIoas(OpRun& run) {
  if (!run.Has(present::obj)) {
    run.Skip(EINVAL);
    return nullptr;
  }
  Object* const ioas = run.Find(run.obj(), ObjectKind::kIoas);
  if (!ioas) run.Skip(EBADF);
  return ioas;
}

// Whether an I/O-virtual address is there if it has to be.
bool HasPlace(const OpRun& run) { return run.Has(present::iova) || !(run.flags() & kIommuMapFixedIova); }

void IoasMap(OpRun& run) {
  if (!run.Has(present::len) || !HasPlace(run)) return run.Skip(EINVAL);
  const Object* const ioas = FindIoas(run);
  if (!ioas) return;
  const Backing backing = FindBacking(run);
  if (backing.error) return run.Skip(backing.error);
  run.SetHva(backing.hva);
  IommuIoasMap map = {sizeof map, static_cast<uint32_t>(run.flags()), ioas->id, 0, backing.hva, run.len(), run.iova()};
  if (run.Time([&] { return ::ioctl(ioas->iommufd, kIommuIoasMap, &map); })) run.SetIova(map.iova);
}

// By the file, whatever is mapped where: no address of the host in the row. EBADF for anonymous memory.
void IoasMapFile(OpRun& run) {
  if (!run.Has(present::len) || !HasPlace(run)) return run.Skip(EINVAL);
  const Object* const ioas = FindIoas(run);
  if (!ioas) return;
  const Object* const file = run.objects().Find(run.peer());
  if (!file || !file->IsMemory()) return run.Skip(EBADF);
  IommuIoasMapFile map = {
      sizeof map, static_cast<uint32_t>(run.flags()), ioas->id, file->fd.get(), run.offset(), run.len(), run.iova()};
  if (run.Time([&] { return ::ioctl(ioas->iommufd, kIommuIoasMapFile, &map); })) run.SetIova(map.iova);
}

void IoasUnmap(OpRun& run) {
  const Object* const ioas = FindIoas(run);
  if (!ioas) return;
  if (!run.Has(present::len)) {
    if (run.iova() != 0) return run.Skip(EINVAL);
    run.SetIova(0);
    run.SetLen(UINT64_MAX);
  } else if (!run.Has(present::iova)) {
    return run.Skip(EINVAL);
  }
  IommuIoasUnmap unmap = {sizeof unmap, ioas->id, run.iova(), run.len()};
  if (run.Time([&] { return ::ioctl(ioas->iommufd, kIommuIoasUnmap, &unmap); })) {
    run.SetResult(static_cast<int64_t>(unmap.length));
  }
}

void IoasCopy(OpRun& run) {
  if (!run.Has(present::offset | present::len) || !HasPlace(run)) return run.Skip(EINVAL);
  const Object* const to = FindIoas(run);
  if (!to) return;
  const Object* const from = run.objects().Find(run.peer(), ObjectKind::kIoas);
  if (!from) return run.Skip(EBADF);
  // Ids of another iommufd mean other things in this one.
  if (from->iommufd != to->iommufd) return run.Skip(EXDEV);
  IommuIoasCopy copy = {sizeof copy, static_cast<uint32_t>(run.flags()), to->id, from->id, run.len(), run.iova(),
                        run.offset()};
  if (run.Time([&] { return ::ioctl(to->iommufd, kIommuIoasCopy, &copy); })) run.SetIova(copy.dst_iova);
}

void IoasChangeProcess(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const iommufd = run.Find(run.obj(), ObjectKind::kIommufd);
  if (!iommufd) return run.Skip(EBADF);
  IommuIoasChangeProcess change = {sizeof change, 0};
  run.Time([&] { return ::ioctl(iommufd->fd.get(), kIommuIoasChangeProcess, &change); });
}

void SetOption(OpRun& run) {
  if (!run.Has(present::obj | present::attrs | present::flags)) return run.Skip(EINVAL);
  const Object* const object = run.objects().Find(run.obj());
  const bool global = object && object->kind == ObjectKind::kIommufd;
  if (!object || (!global && object->kind != ObjectKind::kIoas)) return run.Skip(EBADF);
  IommuOption option = {sizeof option, static_cast<uint32_t>(run.attrs()), 0, 0, global ? 0 : object->id, run.flags()};
  run.Time([&] { return ::ioctl(global ? object->fd.get() : object->iommufd, kIommuOption, &option); });
}

void SetVfioIoas(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const iommufd = run.Find(run.obj(), ObjectKind::kIommufd);
  const Object* const ioas = run.objects().Find(run.peer(), ObjectKind::kIoas);
  if (!iommufd || !ioas) return run.Skip(EBADF);
  if (ioas->iommufd != iommufd->fd.get()) return run.Skip(EXDEV);
  IommuVfioIoas set = {sizeof set, ioas->id, kIommuVfioIoasSet, 0};
  run.Time([&] { return ::ioctl(iommufd->fd.get(), kIommuVfioIoas, &set); });
}

}  // namespace

void RegisterIommufdOps(HandlerTable& table) {
  table[Op::iommufd_open] = Open;
  table[Op::iommufd_destroy] = Destroy;
  table[Op::iommufd_ioas_alloc] = IoasAlloc;
  table[Op::iommufd_ioas_map] = IoasMap;
  table[Op::iommufd_ioas_map_file] = IoasMapFile;
  table[Op::iommufd_ioas_unmap] = IoasUnmap;
  table[Op::iommufd_ioas_copy] = IoasCopy;
  table[Op::iommufd_ioas_change_process] = IoasChangeProcess;
  table[Op::iommufd_option] = SetOption;
  table[Op::iommufd_vfio_ioas] = SetVfioIoas;
}

}  // namespace cvmtrace
