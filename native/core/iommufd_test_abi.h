// IOMMU_TEST_CMD of kernels with CONFIG_IOMMUFD_TEST, and what their mock driver takes: not a stable interface
// (drivers/iommu/iommufd/iommufd_test.h), but these operations are the same in all kernels that have them.
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

namespace cvmtrace {

inline constexpr unsigned long kIommuTestCmd = _IO(';', 0xa0);

inline constexpr uint32_t kIommuTestMockDomain = 2;
inline constexpr uint32_t kIommuTestMdCheckMap = 3;
inline constexpr uint32_t kIommuTestTriggerIopf = 15;

// The mock's page tables hold these I/O-virtual addresses and no others.
inline constexpr uint64_t kMockApertureStart = 1u << 24;
inline constexpr uint64_t kMockApertureLast = (1u << 31) - 1;

// The kernel's struct is a union with one word behind, and has grown. A caller's struct may be longer if its tail is 0,
// so one that is longer than any fits all kernels.
struct IommuTestCmd {
  uint32_t size;
  uint32_t op;
  uint32_t id;
  uint32_t reserved;
  union {
    struct {
      uint32_t out_stdev_id;
      uint32_t out_hwpt_id;
      uint32_t out_idev_id;
    } mock_domain;
    struct {
      uint64_t iova;
      uint64_t length;
      uint64_t uptr;
    } check_map;
    struct {
      uint32_t dev_id;
      uint32_t pasid;
      uint32_t grpid;
      uint32_t perm;
      uint64_t addr;
    } trigger_iopf;
    uint8_t space[240];
  };
};
static_assert(sizeof(IommuTestCmd) == 256);

inline IommuTestCmd MakeIommuTestCmd(uint32_t op, uint32_t id) {
  IommuTestCmd command = {};
  command.size = sizeof command;
  command.op = op;
  command.id = id;
  return command;
}

// Data of a nested page table of the mock: what its pretended TLB entries hold until they are invalidated.
inline constexpr uint32_t kIommuHwptDataSelftest = 0xdead;
struct IommuHwptSelftest {
  uint32_t iotlb;
};
inline constexpr uint32_t kIommuTestIotlbDefault = 0xbadbeef;

inline constexpr uint32_t kIommuHwptInvalidateDataSelftest = 0xdeadbeef;
inline constexpr uint32_t kMockIotlbEntries = 4;
struct IommuHwptInvalidateSelftest {
  uint32_t flags;  // 1: all entries
  uint32_t iotlb_id;
};
static_assert(sizeof(IommuHwptInvalidateSelftest) == 8);

}  // namespace cvmtrace
