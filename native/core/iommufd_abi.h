// iommufd's structs and numbers: linux/iommufd.h came with Linux 6.2, too new for Debian 12's headers. Our own names,
// so that either header compiles; each static_assert is the size that the kernel knows (include/uapi/linux/iommufd.h).
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

namespace cvmtrace {

inline constexpr unsigned long kIommuDestroy = _IO(';', 0x80);
inline constexpr unsigned long kIommuIoasAlloc = _IO(';', 0x81);
inline constexpr unsigned long kIommuIoasCopy = _IO(';', 0x83);
inline constexpr unsigned long kIommuIoasMap = _IO(';', 0x85);
inline constexpr unsigned long kIommuIoasUnmap = _IO(';', 0x86);
inline constexpr unsigned long kIommuOption = _IO(';', 0x87);
inline constexpr unsigned long kIommuVfioIoas = _IO(';', 0x88);
inline constexpr unsigned long kIommuHwptAlloc = _IO(';', 0x89);
inline constexpr unsigned long kIommuHwptInvalidate = _IO(';', 0x8d);
inline constexpr unsigned long kIommuFaultQueueAlloc = _IO(';', 0x8e);
inline constexpr unsigned long kIommuIoasMapFile = _IO(';', 0x8f);
inline constexpr unsigned long kIommuViommuAlloc = _IO(';', 0x90);
inline constexpr unsigned long kIommuVdeviceAlloc = _IO(';', 0x91);
inline constexpr unsigned long kIommuIoasChangeProcess = _IO(';', 0x92);

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

struct IommuIoasCopy {
  uint32_t size;
  uint32_t flags;
  uint32_t dst_ioas_id;
  uint32_t src_ioas_id;
  uint64_t length;
  uint64_t dst_iova;
  uint64_t src_iova;
};
static_assert(sizeof(IommuIoasCopy) == 40);

// Flags of map, map_file and copy.
inline constexpr uint32_t kIommuMapFixedIova = 1;
inline constexpr uint32_t kIommuMapWriteable = 2;
inline constexpr uint32_t kIommuMapReadable = 4;

struct IommuIoasMap {
  uint32_t size;
  uint32_t flags;
  uint32_t ioas_id;
  uint32_t reserved;
  uint64_t user_va;
  uint64_t length;
  uint64_t iova;
};
static_assert(sizeof(IommuIoasMap) == 40);

struct IommuIoasMapFile {
  uint32_t size;
  uint32_t flags;
  uint32_t ioas_id;
  int32_t fd;
  uint64_t start;
  uint64_t length;
  uint64_t iova;
};
static_assert(sizeof(IommuIoasMapFile) == 40);

struct IommuIoasUnmap {
  uint32_t size;
  uint32_t ioas_id;
  uint64_t iova;
  uint64_t length;
};
static_assert(sizeof(IommuIoasUnmap) == 24);

struct IommuOption {
  uint32_t size;
  uint32_t option_id;
  uint16_t op;  // 0 = set
  uint16_t reserved;
  uint32_t object_id;
  uint64_t value;
};
static_assert(sizeof(IommuOption) == 24);

inline constexpr uint16_t kIommuVfioIoasSet = 1;
struct IommuVfioIoas {
  uint32_t size;
  uint32_t ioas_id;
  uint16_t op;
  uint16_t reserved;
};
static_assert(sizeof(IommuVfioIoas) == 12);

inline constexpr uint32_t kIommuHwptFaultIdValid = 4;
struct IommuHwptAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t dev_id;
  uint32_t pt_id;
  uint32_t out_hwpt_id;
  uint32_t reserved;
  uint32_t data_type;
  uint32_t data_len;
  uint64_t data_uptr;
  uint32_t fault_id;
  uint32_t reserved2;
};
static_assert(sizeof(IommuHwptAlloc) == 48);

struct IommuHwptInvalidate {
  uint32_t size;
  uint32_t hwpt_id;
  uint64_t data_uptr;
  uint32_t data_type;
  uint32_t entry_len;
  uint32_t entry_num;
  uint32_t reserved;
};
static_assert(sizeof(IommuHwptInvalidate) == 32);

struct IommuFaultQueueAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t out_fault_id;
  uint32_t out_fault_fd;
};
static_assert(sizeof(IommuFaultQueueAlloc) == 16);

// What a fault queue's fd is read for, and written with.
inline constexpr uint32_t kIommuFaultLastPage = 2;
struct IommuHwptPgfault {
  uint32_t flags;
  uint32_t dev_id;
  uint32_t pasid;
  uint32_t grpid;
  uint32_t perm;
  uint32_t reserved;
  uint64_t addr;
  uint32_t length;
  uint32_t cookie;
};
static_assert(sizeof(IommuHwptPgfault) == 40);

struct IommuHwptPageResponse {
  uint32_t cookie;
  uint32_t code;  // 0 success, 1 invalid
};
static_assert(sizeof(IommuHwptPageResponse) == 8);

struct IommuViommuAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t type;
  uint32_t dev_id;
  uint32_t hwpt_id;
  uint32_t out_viommu_id;
};
static_assert(sizeof(IommuViommuAlloc) == 24);

struct IommuVdeviceAlloc {
  uint32_t size;
  uint32_t viommu_id;
  uint32_t dev_id;
  uint32_t out_vdevice_id;
  uint64_t virt_id;
};
static_assert(sizeof(IommuVdeviceAlloc) == 24);

struct IommuIoasChangeProcess {
  uint32_t size;
  uint32_t reserved;
};
static_assert(sizeof(IommuIoasChangeProcess) == 8);

}  // namespace cvmtrace
