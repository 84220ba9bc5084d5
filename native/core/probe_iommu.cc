// VFIO containers and iommufd, as far as they go without a device.
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "probe.h"
#include "scoped_fd.h"

namespace cvmtrace {
namespace {

// linux/iommufd.h came with Linux 6.2: too new for Debian 12's headers.
struct IommuDestroy {
  uint32_t size;
  uint32_t id;
};
static_assert(sizeof(IommuDestroy) == 8);
struct IommuIoasAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t out_ioas_id;
};
static_assert(sizeof(IommuIoasAlloc) == 12);
constexpr unsigned long kIommuDestroy = _IO(';', 0x80);
constexpr unsigned long kIommuIoasAlloc = _IO(';', 0x81);
constexpr unsigned long kIommuTestCmd = _IO(';', 0xa0);

void ProbeVfio(ProbeLog& log) {
  const ScopedFd container(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
  if (!log.Note("vfio.open", "open(/dev/vfio/vfio)", container ? 0 : -1)) return;
  log.Note("vfio.api_version", "ioctl(VFIO_GET_API_VERSION)", ::ioctl(container.get(), VFIO_GET_API_VERSION), true);
  log.Note("vfio.ext.type1v2", "ioctl(VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU)",
           ::ioctl(container.get(), VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), true);
}

void ProbeIommufd(ProbeLog& log) {
  const ScopedFd iommu(::open("/dev/iommu", O_RDWR | O_CLOEXEC));
  if (!log.Note("iommufd.open", "open(/dev/iommu)", iommu ? 0 : -1)) return;
  IommuIoasAlloc alloc = {sizeof alloc, 0, 0};
  if (log.Note("iommufd.ioas_alloc", "ioctl(IOMMU_IOAS_ALLOC)", ::ioctl(iommu.get(), kIommuIoasAlloc, &alloc))) {
    IommuDestroy destroy = {sizeof destroy, alloc.out_ioas_id};
    log.Note("iommufd.destroy", "ioctl(IOMMU_DESTROY)", ::ioctl(iommu.get(), kIommuDestroy, &destroy));
  }
  // A struct that is too short is refused before anything is done: EINVAL if the kernel has the command
  // (CONFIG_IOMMUFD_TEST), else ENOTTY.
  uint32_t too_short = sizeof too_short;
  const int returned = ::ioctl(iommu.get(), kIommuTestCmd, &too_short);
  log.NoteError("iommufd.test", "ioctl(IOMMU_TEST_CMD)", returned < 0 && errno != EINVAL ? errno : 0);
}

}  // namespace

void ProbeIommu(ProbeLog& log) {
  ProbeVfio(log);
  ProbeIommufd(log);
}

}  // namespace cvmtrace
