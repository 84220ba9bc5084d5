// VFIO: containers, groups and devices, and an iommufd where it stands in for a container.
// Documentation/driver-api/vfio.rst.
#include "../core/vfio_abi.h"
#include "ioctl_call.h"
#include "iommufd_ids.h"
#include "recognise.h"

namespace cvmtrace::preload {
namespace {

// Not a row: which group the container drives is said with VFIO_SET_IOMMU.
bool GroupSetContainer(const IoctlCall& call, Row&) {
  uint32_t group = call.entry.object()->index;
  if (call.failed() || group == kNoIndex) return false;
  int container;
  memcpy(&container, reinterpret_cast<const void*>(call.argument), sizeof container);
  const Entry entry = Lookup(container);
  if (entry.kind() == Kind::kContainer) entry.object()->index = group;
  return false;
}

bool GroupGetDeviceFd(const IoctlCall& call, Row&) {
  if (!call.failed()) EnterObject(static_cast<int>(call.returned), Kind::kDevice);
  return false;
}

bool SetIommu(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  row.Flags(call.argument);
  if (call.entry.kind() == Kind::kContainer && call.entry.object()->index != kNoIndex) {
    row.Attrs(call.entry.object()->index);
  }
  return true;
}

// The result is how many mappings are left, if the kernel says so. Only as much as the caller made room for.
bool IommuGetInfo(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  row.NoResult();
  vfio_iommu_type1_info info;
  constexpr uint32_t kWithCapabilities = offsetof(vfio_iommu_type1_info, cap_offset) + sizeof info.cap_offset;
  const auto* const space = reinterpret_cast<const unsigned char*>(call.argument);
  if (call.failed()) return true;
  uint32_t room;
  memcpy(&room, space, sizeof room);
  if (room < kWithCapabilities) return true;
  memcpy(&info, space, kWithCapabilities);
  // The kernel says in argsz how much it would need, and then leaves the offset 0 if that is more than there was.
  if (!(info.flags & VFIO_IOMMU_INFO_CAPS)) return true;
  uint32_t at = info.cap_offset;
  while (at >= kWithCapabilities && at + sizeof(vfio_iommu_type1_info_dma_avail) <= room) {
    vfio_iommu_type1_info_dma_avail capability;
    memcpy(&capability, space + at, sizeof capability);
    if (capability.header.id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) row.Result(capability.avail);
    // Each lies behind the one before, so that a chain always ends.
    if (capability.header.next <= at) break;
    at = capability.header.next;
  }
  return true;
}

bool MapDma(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  vfio_iommu_type1_dma_map map;
  if (!call.Read(map)) return true;
  row.Iova(map.iova);
  row.Len(map.size);
  row.Flags(map.flags);
  row.Hva(map.vaddr);
  return true;
}

bool UnmapDma(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  vfio_iommu_type1_dma_unmap unmap;
  constexpr size_t kBytes = offsetof(vfio_iommu_type1_dma_unmap, size) + sizeof unmap.size;
  static_assert(kBytes == 24 && sizeof unmap == kBytes);
  if (!call.ReadBefore(unmap)) return true;
  row.Flags(unmap.flags);
  // All of it, wherever it is.
  if (!(unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL)) {
    row.Iova(unmap.iova);
    row.Len(unmap.size);
  }
  if (!call.failed() && call.Read(unmap)) row.Result(unmap.size);
  return true;
}

bool BindIommufd(const IoctlCall& call, Row& row) {
  const Object& device = *call.entry.object();
  row.Obj(device.number);
  if (device.index != kNoIndex) row.Attrs(device.index);
  VfioDeviceBindIommufd bind;
  if (call.failed() || !call.Read(bind)) return true;
  const Entry iommufd = Lookup(bind.iommufd);
  if (iommufd.kind() == Kind::kIommufd) NameId(iommufd.number(), bind.out_devid, device.number);
  return true;
}

bool AttachIommufdPt(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  VfioDeviceAttachIommufdPt attach;
  if (!call.ReadSized(attach)) return true;
  row.Flags(attach.flags);
  if (attach.flags & kVfioDevicePasid) row.Attrs(attach.pasid);
  return true;
}

bool DetachIommufdPt(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  VfioDeviceDetachIommufdPt detach;
  if (!call.ReadSized(detach)) return true;
  row.Flags(detach.flags);
  if (detach.flags & kVfioDevicePasid) row.Attrs(detach.pasid);
  return true;
}

constexpr uint32_t kGroup = Bit(Kind::kGroup);
constexpr uint32_t kDevice = Bit(Kind::kDevice);
constexpr uint32_t kContainer = Bit(Kind::kContainer) | Bit(Kind::kIommufd);

constexpr IoctlKind kSetContainer = {kGroup, Op::vfio_set_iommu, 0, GroupSetContainer};
constexpr IoctlKind kGetDeviceFd = {kGroup, Op::vfio_set_iommu, 0, GroupGetDeviceFd};
constexpr IoctlKind kSetIommu = {kContainer, Op::vfio_set_iommu, 0, SetIommu};
constexpr IoctlKind kGetInfo = {kContainer, Op::vfio_iommu_get_info, 0, IommuGetInfo};
constexpr IoctlKind kMapDma = {kContainer, Op::vfio_map_dma, 0, MapDma};
constexpr IoctlKind kUnmapDma = {kContainer, Op::vfio_unmap_dma, sizeof(vfio_iommu_type1_dma_unmap), UnmapDma};
constexpr IoctlKind kBind = {kDevice, Op::vfio_device_bind_iommufd, 0, BindIommufd};
constexpr IoctlKind kAttach = {kDevice, Op::vfio_attach_iommufd_pt, 0, AttachIommufdPt};
constexpr IoctlKind kDetach = {kDevice, Op::vfio_detach_iommufd_pt, 0, DetachIommufdPt};

}  // namespace

const IoctlKind* FindVfioIoctl(uint32_t request) {
  switch (request) {
    case VFIO_GROUP_SET_CONTAINER:
      return &kSetContainer;
    case VFIO_GROUP_GET_DEVICE_FD:
      return &kGetDeviceFd;
    case VFIO_SET_IOMMU:
      return &kSetIommu;
    case VFIO_IOMMU_GET_INFO:
      return &kGetInfo;
    case VFIO_IOMMU_MAP_DMA:
      return &kMapDma;
    case VFIO_IOMMU_UNMAP_DMA:
      return &kUnmapDma;
    case kVfioDeviceBindIommufd:
      return &kBind;
    case kVfioDeviceAttachIommufdPt:
      return &kAttach;
    case kVfioDeviceDetachIommufdPt:
      return &kDetach;
    default:
      return nullptr;
  }
}

}  // namespace cvmtrace::preload
