// VFIO: containers of type1 or in the compatibility mode of iommufd, and devices that are bound to an iommufd.
// Documentation/driver-api/vfio.rst. No driver is bound or unbound here.
#include <dirent.h>
#include <fcntl.h>

#include <string>

#include "backing.h"
#include "handlers.h"
#include "vfio_abi.h"

namespace cvmtrace {
namespace {

// The first device of a group that VFIO hands out; none, and errno of the last that it refused, ENODEV if the group is
// empty.
ScopedFd OpenDeviceOf(int group, const std::string& number) {
  const std::string path = "/sys/kernel/iommu_groups/" + number + "/devices";
  const std::unique_ptr<DIR, int (*)(DIR*)> devices(::opendir(path.c_str()), ::closedir);
  if (!devices) return {};
  int error = ENODEV;
  while (const dirent* const entry = ::readdir(devices.get())) {
    if (entry->d_name[0] == '.') continue;
    ScopedFd device(::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, entry->d_name));
    if (device) return device;
    error = errno;
  }
  errno = error;
  return {};
}

// Opens all that it takes; only VFIO_SET_IOMMU is timed. The row's errno is that of the first step that failed.
void SetIommu(OpRun& run) {
  if (!run.Has(present::obj | present::flags)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  auto container = std::make_unique<Object>(Object{ObjectKind::kVfioContainer, {}, {}});
  const bool compat = run.peer() != 0;
  if (compat) {
    const Object* const iommufd = run.objects().Find(run.peer(), ObjectKind::kIommufd);
    if (!iommufd) return run.Skip(EBADF);
    container->fd.reset(::fcntl(iommufd->fd.get(), F_DUPFD_CLOEXEC, 0));
  } else {
    container->fd.reset(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
  }
  if (!container->fd) return run.Skip(errno);
  const int fd = container->fd.get();
  const std::string number = std::to_string(run.attrs());
  if (run.Has(present::attrs)) {
    container->group.reset(::open(("/dev/vfio/" + number).c_str(), O_RDWR | O_CLOEXEC));
    if (!container->group) return run.Skip(errno);
    if (::ioctl(container->group.get(), VFIO_GROUP_SET_CONTAINER, &fd) != 0) return run.Skip(errno);
  }
  // type1 attaches the group itself; iommufd a device, when it is opened, and mappings are mere bookkeeping before.
  if (compat && container->group) {
    container->device = OpenDeviceOf(container->group.get(), number);
    if (!container->device) return run.Skip(errno);
  }
  if (run.Time([&] { return ::ioctl(fd, VFIO_SET_IOMMU, run.flags()); })) {
    run.objects().Add(run.obj(), std::move(container));
  }
}

const Object* FindContainer(OpRun& run) {
  if (!run.Has(present::obj)) {
    run.Skip(EINVAL);
    return nullptr;
  }
  const Object* const container = run.Find(run.obj(), ObjectKind::kVfioContainer);
  if (!container) run.Skip(EBADF);
  return container;
}

void GetInfo(OpRun& run) {
  const Object* const container = FindContainer(run);
  if (!container) return;
  // Room for more capabilities than there are: one per reserved range of I/O-virtual addresses at most.
  alignas(8) char space[4096] = {};
  auto* const info = reinterpret_cast<vfio_iommu_type1_info*>(space);
  info->argsz = sizeof space;
  if (!run.Time([&] { return ::ioctl(container->fd.get(), VFIO_IOMMU_GET_INFO, info); })) return;
  run.ClearResult();
  if (!(info->flags & VFIO_IOMMU_INFO_CAPS)) return;
  uint32_t at = info->cap_offset;
  while (at >= sizeof *info && at + sizeof(vfio_iommu_type1_info_dma_avail) <= sizeof space) {
    const auto* const capability = reinterpret_cast<const vfio_iommu_type1_info_dma_avail*>(space + at);
    if (capability->header.id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) return run.SetResult(capability->avail);
    // Each lies behind the one before, so that a chain always ends.
    if (capability->header.next <= at) return;
    at = capability->header.next;
  }
}

void MapDma(OpRun& run) {
  if (!run.Has(present::iova | present::len | present::flags)) return run.Skip(EINVAL);
  const Object* const container = FindContainer(run);
  if (!container) return;
  const Backing backing = FindBacking(run);
  if (backing.error) return run.Skip(backing.error);
  run.SetHva(backing.hva);
  vfio_iommu_type1_dma_map map = {sizeof map, static_cast<uint32_t>(run.flags()), backing.hva, run.iova(), run.len()};
  run.Time([&] { return ::ioctl(container->fd.get(), VFIO_IOMMU_MAP_DMA, &map); });
}

void UnmapDma(OpRun& run) {
  if (!(run.flags() & VFIO_DMA_UNMAP_FLAG_ALL) && !run.Has(present::iova | present::len)) return run.Skip(EINVAL);
  const Object* const container = FindContainer(run);
  if (!container) return;
  vfio_iommu_type1_dma_unmap unmap = {sizeof unmap, static_cast<uint32_t>(run.flags()), run.iova(), run.len()};
  if (run.Time([&] { return ::ioctl(container->fd.get(), VFIO_IOMMU_UNMAP_DMA, &unmap); })) {
    run.SetResult(static_cast<int64_t>(unmap.size));
  }
}

void BindIommufd(OpRun& run) {
  if (!run.Has(present::obj | present::attrs)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  const Object* const iommufd = run.objects().Find(run.peer(), ObjectKind::kIommufd);
  if (!iommufd) return run.Skip(EBADF);
  const std::string path = "/dev/vfio/devices/vfio" + std::to_string(run.attrs());
  ScopedFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return run.Skip(errno);
  VfioDeviceBindIommufd bind = {sizeof bind, 0, iommufd->fd.get(), 0};
  if (!run.Time([&] { return ::ioctl(fd.get(), kVfioDeviceBindIommufd, &bind); })) return;
  auto device = std::make_unique<Object>(Object{ObjectKind::kVfioDevice, std::move(fd), {}});
  device->iommufd = iommufd->fd.get();
  device->device_id = bind.out_devid;
  run.objects().Add(run.obj(), std::move(device));
}

// Without the PASID flag the struct ends before the PASID, as older kernels know it.
void AttachIommufdPt(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const device = run.Find(run.obj(), ObjectKind::kVfioDevice);
  const Object* const table = run.objects().Find(run.peer());
  if (!device || !table || (table->kind != ObjectKind::kIoas && table->kind != ObjectKind::kHwpt)) {
    return run.Skip(EBADF);
  }
  if (table->iommufd != device->iommufd) return run.Skip(EXDEV);
  const uint32_t flags = static_cast<uint32_t>(run.flags());
  const size_t size = flags & kVfioDevicePasid ? sizeof(VfioDeviceAttachIommufdPt)  //
                                               : offsetof(VfioDeviceAttachIommufdPt, pasid);
  VfioDeviceAttachIommufdPt attach = {static_cast<uint32_t>(size), flags, table->id,
                                      static_cast<uint32_t>(run.attrs())};
  run.Time([&] { return ::ioctl(device->fd.get(), kVfioDeviceAttachIommufdPt, &attach); });
}

void DetachIommufdPt(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const device = run.Find(run.obj(), ObjectKind::kVfioDevice);
  if (!device) return run.Skip(EBADF);
  const uint32_t flags = static_cast<uint32_t>(run.flags());
  const size_t size = flags & kVfioDevicePasid ? sizeof(VfioDeviceDetachIommufdPt)  //
                                               : offsetof(VfioDeviceDetachIommufdPt, pasid);
  VfioDeviceDetachIommufdPt detach = {static_cast<uint32_t>(size), flags, static_cast<uint32_t>(run.attrs())};
  run.Time([&] { return ::ioctl(device->fd.get(), kVfioDeviceDetachIommufdPt, &detach); });
}

}  // namespace

void RegisterVfioOps(HandlerTable& table) {
  table[Op::vfio_set_iommu] = SetIommu;
  table[Op::vfio_iommu_get_info] = GetInfo;
  table[Op::vfio_map_dma] = MapDma;
  table[Op::vfio_unmap_dma] = UnmapDma;
  table[Op::vfio_device_bind_iommufd] = BindIommufd;
  table[Op::vfio_attach_iommufd_pt] = AttachIommufdPt;
  table[Op::vfio_detach_iommufd_pt] = DetachIommufdPt;
}

}  // namespace cvmtrace
