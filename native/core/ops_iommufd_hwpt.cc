// Page tables of devices in an iommufd, nested ones among them: what a VMM does for a guest that has an IOMMU of its
// own. Documentation/userspace-api/iommufd.rst; nesting in Linux 6.6, invalidation 6.8, fault queues 6.11.
#include <vector>

#include "handlers.h"
#include "iommufd_abi.h"
#include "iommufd_test_abi.h"

namespace cvmtrace {
namespace {

uint32_t TypeOf(uint64_t attrs) { return static_cast<uint32_t>(attrs); }
uint32_t DeviceOf(uint64_t attrs) { return static_cast<uint32_t>(attrs >> 32); }

// A device with an id in an iommufd, or nullptr.
const Object* FindDevice(const OpRun& run, uint32_t number) {
  const Object* const device = run.objects().Find(number);
  if (!device) return nullptr;
  return device->kind == ObjectKind::kMockDevice || device->kind == ObjectKind::kVfioDevice ? device : nullptr;
}

void AddId(OpRun& run, ObjectKind kind, int iommufd, uint32_t id, ScopedFd fd = {}) {
  auto object = std::make_unique<Object>(Object{kind, std::move(fd), {}});
  object->iommufd = iommufd;
  object->id = id;
  run.objects().Add(run.obj(), std::move(object));
}

// For a data type that is not the mock's there is no data, which the kernel refuses unless the type is 0, none.
void HwptAlloc(OpRun& run) {
  if (!run.Has(present::obj | present::attrs)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  const Object* const parent = run.objects().Find(run.peer());
  const Object* const device = FindDevice(run, DeviceOf(run.attrs()));
  if (!parent || !device || (parent->kind != ObjectKind::kIoas && parent->kind != ObjectKind::kHwpt)) {
    return run.Skip(EBADF);
  }
  if (device->iommufd != parent->iommufd) return run.Skip(EXDEV);
  IommuHwptSelftest selftest = {kIommuTestIotlbDefault};
  IommuHwptAlloc alloc = {};
  alloc.size = sizeof alloc;
  alloc.flags = static_cast<uint32_t>(run.flags());
  alloc.dev_id = device->device_id;
  alloc.pt_id = parent->id;
  alloc.data_type = TypeOf(run.attrs());
  if (alloc.data_type == kIommuHwptDataSelftest) {
    alloc.data_len = sizeof selftest;
    alloc.data_uptr = reinterpret_cast<uint64_t>(&selftest);
  }
  if (alloc.flags & kIommuHwptFaultIdValid) {
    if (run.offset() > Objects::kMaxNumber) return run.Skip(EBADF);
    const Object* const queue = run.objects().Find(static_cast<uint32_t>(run.offset()), ObjectKind::kFaultQueue);
    if (!queue) return run.Skip(EBADF);
    if (queue->iommufd != parent->iommufd) return run.Skip(EXDEV);
    alloc.fault_id = queue->id;
  }
  if (run.Time([&] { return ::ioctl(parent->iommufd, kIommuHwptAlloc, &alloc); })) {
    AddId(run, ObjectKind::kHwpt, parent->iommufd, alloc.out_hwpt_id);
  }
}

// One of the mock's pretended TLB entries after the other; all of them in each request with flag 1.
void HwptInvalidate(OpRun& run) {
  constexpr uint64_t kEntry = sizeof(IommuHwptInvalidateSelftest);
  constexpr uint64_t kMaxBytes = 1u << 20;
  if (!run.Has(present::obj | present::attrs | present::len)) return run.Skip(EINVAL);
  if (run.len() % kEntry != 0 || run.len() > kMaxBytes) return run.Skip(EINVAL);
  // The entries of real hardware are the guest's, and there is none here to write them.
  if (run.attrs() != kIommuHwptInvalidateDataSelftest) return run.Skip(EOPNOTSUPP);
  const Object* const hwpt = run.Find(run.obj(), ObjectKind::kHwpt);
  if (!hwpt) return run.Skip(EBADF);
  std::vector<IommuHwptInvalidateSelftest> entries(run.len() / kEntry);
  for (uint32_t i = 0; i < entries.size(); ++i) {
    entries[i] = {static_cast<uint32_t>(run.flags()), i % kMockIotlbEntries};
  }
  IommuHwptInvalidate invalidate = {};
  invalidate.size = sizeof invalidate;
  invalidate.hwpt_id = hwpt->id;
  invalidate.data_uptr = reinterpret_cast<uint64_t>(entries.data());
  invalidate.data_type = kIommuHwptInvalidateDataSelftest;
  invalidate.entry_len = kEntry;
  invalidate.entry_num = static_cast<uint32_t>(entries.size());
  if (run.Time([&] { return ::ioctl(hwpt->iommufd, kIommuHwptInvalidate, &invalidate); })) {
    run.SetResult(invalidate.entry_num);
  }
}

void FaultQueueAlloc(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const iommufd = run.objects().Find(run.peer(), ObjectKind::kIommufd);
  if (!iommufd) return run.Skip(EBADF);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  IommuFaultQueueAlloc alloc = {sizeof alloc, static_cast<uint32_t>(run.flags()), 0, 0};
  if (run.Time([&] { return ::ioctl(iommufd->fd.get(), kIommuFaultQueueAlloc, &alloc); })) {
    AddId(run, ObjectKind::kFaultQueue, iommufd->fd.get(), alloc.out_fault_id,
          ScopedFd(static_cast<int>(alloc.out_fault_fd)));
  }
}

// Reads what waits in the queue, at once if nothing does, and answers it; the page requests of a group are answered
// together, by the cookie that all of them carry.
void FaultRespond(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const queue = run.Find(run.obj(), ObjectKind::kFaultQueue);
  if (!queue || !queue->fd) return run.Skip(EBADF);
  constexpr size_t kMaxFaults = 64;
  IommuHwptPgfault faults[kMaxFaults];
  IommuHwptPageResponse responses[kMaxFaults];
  const uint32_t code = static_cast<uint32_t>(run.flags());
  run.Time([&]() -> int64_t {
    const ssize_t bytes = ::read(queue->fd.get(), faults, sizeof faults);
    if (bytes < 0) return -1;
    const size_t count = static_cast<size_t>(bytes) / sizeof faults[0];
    size_t groups = 0;
    for (size_t i = 0; i < count; ++i) {
      if (faults[i].flags & kIommuFaultLastPage) responses[groups++] = {faults[i].cookie, code};
    }
    if (groups == 0) return static_cast<int64_t>(count);
    const ssize_t written = ::write(queue->fd.get(), responses, groups * sizeof responses[0]);
    if (written < 0) return -1;
    // The kernel took some answers and refused the next: that errno is lost.
    if (static_cast<size_t>(written) != groups * sizeof responses[0]) {
      errno = EIO;
      return -1;
    }
    return static_cast<int64_t>(count);
  });
}

// Not run: Linux 6.13 or later with a device, or a mock, that has virtual IOMMUs. Older kernels answer ENOTTY.
void ViommuAlloc(OpRun& run) {
  if (!run.Has(present::obj | present::attrs)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  const Object* const parent = run.objects().Find(run.peer(), ObjectKind::kHwpt);
  const Object* const device = FindDevice(run, DeviceOf(run.attrs()));
  if (!parent || !device) return run.Skip(EBADF);
  if (device->iommufd != parent->iommufd) return run.Skip(EXDEV);
  IommuViommuAlloc alloc = {
      sizeof alloc, static_cast<uint32_t>(run.flags()), TypeOf(run.attrs()), device->device_id, parent->id, 0};
  if (run.Time([&] { return ::ioctl(parent->iommufd, kIommuViommuAlloc, &alloc); })) {
    AddId(run, ObjectKind::kViommu, parent->iommufd, alloc.out_viommu_id);
  }
}

// Not run, as ViommuAlloc().
void VdeviceAlloc(OpRun& run) {
  if (!run.Has(present::obj | present::attrs | present::offset)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  const Object* const viommu = run.objects().Find(run.peer(), ObjectKind::kViommu);
  const Object* const device = FindDevice(run, DeviceOf(run.attrs()));
  if (!viommu || !device) return run.Skip(EBADF);
  if (device->iommufd != viommu->iommufd) return run.Skip(EXDEV);
  IommuVdeviceAlloc alloc = {sizeof alloc, viommu->id, device->device_id, 0, run.offset()};
  if (run.Time([&] { return ::ioctl(viommu->iommufd, kIommuVdeviceAlloc, &alloc); })) {
    AddId(run, ObjectKind::kVdevice, viommu->iommufd, alloc.out_vdevice_id);
  }
}

}  // namespace

void RegisterHwptOps(HandlerTable& table) {
  table[Op::iommufd_hwpt_alloc] = HwptAlloc;
  table[Op::iommufd_hwpt_invalidate] = HwptInvalidate;
  table[Op::iommufd_fault_queue_alloc] = FaultQueueAlloc;
  table[Op::iommufd_fault_respond] = FaultRespond;
  table[Op::iommufd_viommu_alloc] = ViommuAlloc;
  table[Op::iommufd_vdevice_alloc] = VdeviceAlloc;
}

}  // namespace cvmtrace
