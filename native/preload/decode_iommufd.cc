// iommufd: Documentation/userspace-api/iommufd.rst. Ids inside an iommufd have numbers of their own in the trace.
#include "../core/iommufd_abi.h"
#include "../core/iommufd_test_abi.h"
#include "ioctl_call.h"
#include "iommufd_ids.h"

namespace cvmtrace::preload {
namespace {

uint32_t NumberOf(const IoctlCall& call, uint32_t id) { return NumberOfId(call.number(), id); }
uint32_t NumberNew(const IoctlCall& call, uint32_t id) { return call.failed() ? 0 : NumberNewId(call.number(), id); }

// `attrs` of what belongs to a device: a type, and the device's number.
uint64_t TypeAndDevice(const IoctlCall& call, uint32_t type, uint32_t device) {
  return type | uint64_t{NumberOf(call, device)} << 32;
}

bool IoasAlloc(const IoctlCall& call, Row& row) {
  IommuIoasAlloc alloc;
  if (!call.ReadSized(alloc)) return true;
  row.Flags(alloc.flags);
  row.Obj(NumberNew(call, alloc.out_ioas_id));
  return true;
}

bool Destroy(const IoctlCall& call, Row& row) {
  IommuDestroy destroy;
  if (!call.ReadSized(destroy)) return true;
  row.Obj(NumberOf(call, destroy.id));
  if (!call.failed()) ForgetId(call.number(), destroy.id);
  return true;
}

// Where the kernel chose the address, it is known only if it did.
void MappedAt(const IoctlCall& call, Row& row, uint32_t flags, uint64_t iova) {
  if (!call.failed() || (flags & kIommuMapFixedIova)) row.Iova(iova);
}

bool IoasMap(const IoctlCall& call, Row& row) {
  IommuIoasMap map;
  if (!call.ReadSized(map)) return true;
  row.Obj(NumberOf(call, map.ioas_id));
  row.Flags(map.flags);
  row.Hva(map.user_va);
  row.Len(map.length);
  MappedAt(call, row, map.flags, map.iova);
  return true;
}

bool IoasMapFile(const IoctlCall& call, Row& row) {
  IommuIoasMapFile map;
  if (!call.ReadSized(map)) return true;
  row.Obj(NumberOf(call, map.ioas_id));
  row.Flags(map.flags);
  row.Offset(map.start);
  row.Len(map.length);
  MappedAt(call, row, map.flags, map.iova);
  return true;
}

bool IoasUnmap(const IoctlCall& call, Row& row) {
  IommuIoasUnmap unmap;
  if (!call.ReadBefore(unmap)) return true;
  row.Obj(NumberOf(call, unmap.ioas_id));
  row.Iova(unmap.iova);
  row.Len(unmap.length);
  if (!call.failed() && call.Read(unmap)) row.Result(unmap.length);
  return true;
}

bool IoasCopy(const IoctlCall& call, Row& row) {
  IommuIoasCopy copy;
  if (!call.ReadSized(copy)) return true;
  row.Obj(NumberOf(call, copy.dst_ioas_id));
  row.Flags(copy.flags);
  row.Offset(copy.src_iova);
  row.Len(copy.length);
  MappedAt(call, row, copy.flags, copy.dst_iova);
  return true;
}

bool IoasChangeProcess(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  return true;
}

// Set, or asked for: then without flags, and the value is the result.
bool Option(const IoctlCall& call, Row& row) {
  IommuOption option;
  if (!call.ReadSized(option)) return true;
  row.Obj(option.object_id ? NumberOf(call, option.object_id) : call.number());
  row.Attrs(option.option_id);
  constexpr uint16_t kSet = 0;
  if (option.op == kSet) {
    row.Flags(option.value);
  } else if (!call.failed()) {
    row.Result(option.value);
  }
  return true;
}

bool VfioIoas(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  IommuVfioIoas ioas;
  // As the executor only sets it, another operation is said.
  if (call.ReadSized(ioas) && ioas.op != kIommuVfioIoasSet) row.Attrs(ioas.op);
  return true;
}

bool HwptAlloc(const IoctlCall& call, Row& row) {
  IommuHwptAlloc alloc;
  if (!call.ReadSized(alloc)) return true;
  row.Attrs(TypeAndDevice(call, alloc.data_type, alloc.dev_id));
  row.Flags(alloc.flags);
  if (alloc.flags & kIommuHwptFaultIdValid) row.Offset(NumberOf(call, alloc.fault_id));
  row.Obj(NumberNew(call, alloc.out_hwpt_id));
  return true;
}

bool HwptInvalidate(const IoctlCall& call, Row& row) {
  IommuHwptInvalidate invalidate;
  if (!call.ReadBefore(invalidate)) return true;
  row.Obj(NumberOf(call, invalidate.hwpt_id));
  row.Attrs(invalidate.data_type);
  row.Len(uint64_t{invalidate.entry_len} * invalidate.entry_num);
  if (!call.failed() && call.Read(invalidate)) row.Result(invalidate.entry_num);
  return true;
}

bool FaultQueueAlloc(const IoctlCall& call, Row& row) {
  IommuFaultQueueAlloc alloc;
  if (!call.ReadSized(alloc)) return true;
  row.Flags(alloc.flags);
  row.Obj(NumberNew(call, alloc.out_fault_id));
  return true;
}

bool ViommuAlloc(const IoctlCall& call, Row& row) {
  IommuViommuAlloc alloc;
  if (!call.ReadSized(alloc)) return true;
  row.Attrs(TypeAndDevice(call, alloc.type, alloc.dev_id));
  row.Flags(alloc.flags);
  row.Obj(NumberNew(call, alloc.out_viommu_id));
  return true;
}

bool VdeviceAlloc(const IoctlCall& call, Row& row) {
  IommuVdeviceAlloc alloc;
  if (!call.ReadSized(alloc)) return true;
  row.Attrs(TypeAndDevice(call, 0, alloc.dev_id));
  row.Offset(alloc.virt_id);
  row.Obj(NumberNew(call, alloc.out_vdevice_id));
  return true;
}

// Of the mock's operations only this one has a row. A mock device has two ids: what destroys it, and what it is to
// IOMMU_HWPT_ALLOC.
bool MockDomain(const IoctlCall& call, Row& row) {
  IommuTestCmd command;
  constexpr size_t kHead = offsetof(IommuTestCmd, mock_domain) + sizeof command.mock_domain;
  struct Head {
    unsigned char bytes[kHead];
  } head;
  if (!call.ReadSized(head)) return false;
  memcpy(&command, &head, sizeof head);
  if (command.op != kIommuTestMockDomain) return false;
  const uint32_t number = NumberNew(call, command.mock_domain.out_stdev_id);
  row.Obj(number);
  if (!call.failed()) NameId(call.number(), command.mock_domain.out_idev_id, number);
  return true;
}

constexpr uint32_t kIommufd = Bit(Kind::kIommufd);

constexpr IoctlKind kDestroy = {kIommufd, Op::iommufd_destroy, 0, Destroy};
constexpr IoctlKind kIoasAlloc = {kIommufd, Op::iommufd_ioas_alloc, 0, IoasAlloc};
constexpr IoctlKind kIoasCopy = {kIommufd, Op::iommufd_ioas_copy, 0, IoasCopy};
constexpr IoctlKind kIoasMap = {kIommufd, Op::iommufd_ioas_map, 0, IoasMap};
constexpr IoctlKind kIoasMapFile = {kIommufd, Op::iommufd_ioas_map_file, 0, IoasMapFile};
constexpr IoctlKind kIoasUnmap = {kIommufd, Op::iommufd_ioas_unmap, sizeof(IommuIoasUnmap), IoasUnmap};
constexpr IoctlKind kIoasChangeProcess = {kIommufd, Op::iommufd_ioas_change_process, 0, IoasChangeProcess};
constexpr IoctlKind kOption = {kIommufd, Op::iommufd_option, 0, Option};
constexpr IoctlKind kVfioIoas = {kIommufd, Op::iommufd_vfio_ioas, 0, VfioIoas};
constexpr IoctlKind kHwptAlloc = {kIommufd, Op::iommufd_hwpt_alloc, 0, HwptAlloc};
constexpr IoctlKind kHwptInvalidate = {kIommufd, Op::iommufd_hwpt_invalidate, sizeof(IommuHwptInvalidate),
                                       HwptInvalidate};
constexpr IoctlKind kFaultQueueAlloc = {kIommufd, Op::iommufd_fault_queue_alloc, 0, FaultQueueAlloc};
constexpr IoctlKind kViommuAlloc = {kIommufd, Op::iommufd_viommu_alloc, 0, ViommuAlloc};
constexpr IoctlKind kVdeviceAlloc = {kIommufd, Op::iommufd_vdevice_alloc, 0, VdeviceAlloc};
constexpr IoctlKind kTest = {kIommufd, Op::iommufd_test_mock_domain, 0, MockDomain};

}  // namespace

const IoctlKind* FindIommufdIoctl(uint32_t request) {
  switch (request) {
    case kIommuDestroy:
      return &kDestroy;
    case kIommuIoasAlloc:
      return &kIoasAlloc;
    case kIommuIoasCopy:
      return &kIoasCopy;
    case kIommuIoasMap:
      return &kIoasMap;
    case kIommuIoasMapFile:
      return &kIoasMapFile;
    case kIommuIoasUnmap:
      return &kIoasUnmap;
    case kIommuIoasChangeProcess:
      return &kIoasChangeProcess;
    case kIommuOption:
      return &kOption;
    case kIommuVfioIoas:
      return &kVfioIoas;
    case kIommuHwptAlloc:
      return &kHwptAlloc;
    case kIommuHwptInvalidate:
      return &kHwptInvalidate;
    case kIommuFaultQueueAlloc:
      return &kFaultQueueAlloc;
    case kIommuViommuAlloc:
      return &kViommuAlloc;
    case kIommuVdeviceAlloc:
      return &kVdeviceAlloc;
    case kIommuTestCmd:
      return &kTest;
    default:
      return nullptr;
  }
}

}  // namespace cvmtrace::preload
