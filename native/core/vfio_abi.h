// VFIO's structs and numbers: linux/vfio.h, and of later headers what a device does with an iommufd (Linux 6.6; a PASID
// with 6.15).
#pragma once

#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>

namespace cvmtrace {

inline constexpr unsigned long kVfioDeviceBindIommufd = _IO(VFIO_TYPE, VFIO_BASE + 18);
inline constexpr unsigned long kVfioDeviceAttachIommufdPt = _IO(VFIO_TYPE, VFIO_BASE + 19);
inline constexpr unsigned long kVfioDeviceDetachIommufdPt = _IO(VFIO_TYPE, VFIO_BASE + 20);

struct VfioDeviceBindIommufd {
  uint32_t argsz;
  uint32_t flags;
  int32_t iommufd;
  uint32_t out_devid;
};
static_assert(sizeof(VfioDeviceBindIommufd) == 16);

// Flag of attach and detach: `pasid` counts. Kernels without it refuse the flag with EINVAL.
inline constexpr uint32_t kVfioDevicePasid = 1;

struct VfioDeviceAttachIommufdPt {
  uint32_t argsz;
  uint32_t flags;
  uint32_t pt_id;
  uint32_t pasid;
};
static_assert(sizeof(VfioDeviceAttachIommufdPt) == 16);

struct VfioDeviceDetachIommufdPt {
  uint32_t argsz;
  uint32_t flags;
  uint32_t pasid;
};
static_assert(sizeof(VfioDeviceDetachIommufdPt) == 12);

}  // namespace cvmtrace
