// How requests of VFIO and iommufd become rows, with descriptors and answers that are made up: hosts that have the real
// ones are rare. This program has the library in it.
#include <errno.h>

#include "../core/iommufd_abi.h"
#include "../core/iommufd_test_abi.h"
#include "../core/kvm_abi.h"
#include "../core/vfio_abi.h"
#include "ioctl_call.h"
#include "iommufd_ids.h"
#include "recognise.h"
#include "testing/recording.h"

namespace cvmtrace::preload {
namespace {

constexpr int kIommufdFd = 200;
constexpr int kDeviceFd = 201;
constexpr int kContainerFd = 202;
constexpr int kGroupFd = 203;
constexpr int kGmemFd = 204;
constexpr int kVmFd = 205;

// As if the kernel had answered with `returned`, and the struct then was `after`.
template <typename Struct>
void Answer(const IoctlKind* kind, int fd, const Struct& before, Struct after, long returned) {
  EXPECT(kind != nullptr);
  IoctlCall call = {};
  call.fd = fd;
  call.argument = reinterpret_cast<uintptr_t>(&after);
  call.entry = EntryOf(fd);
  call.start_ns = 1000;
  call.end_ns = 1500;
  call.returned = returned;
  EXPECT(kind->kinds & Bit(call.entry.kind()));
  EXPECT(kind->bytes_before <= sizeof before);
  if (kind->bytes_before) {
    memcpy(call.before, &before, kind->bytes_before);
    call.has_before = true;
  }
  Row row(kind->op, call.start_ns, call.end_ns, call.returned);
  if (kind->decode(call, row)) row.Write();
}
template <typename Struct>
void Answer(const IoctlKind* kind, int fd, const Struct& argument, long returned = 0) {
  Answer(kind, fd, argument, argument, returned);
}
void AnswerValue(const IoctlKind* kind, int fd, uintptr_t value, long returned = 0) {
  EXPECT(kind != nullptr);
  IoctlCall call = {};
  call.argument = value;
  call.entry = EntryOf(fd);
  call.returned = returned;
  Row row(kind->op, 1000, 1500, returned);
  if (kind->decode(call, row)) row.Write();
}

TARGET(iommufd) {
  EXPECT(EnterObject(kIommufdFd, Kind::kIommufd).number() == 1);
  Answer(FindIommufdIoctl(kIommuIoasAlloc), kIommufdFd, IommuIoasAlloc{12, 0, 5});
  IommuIoasMap map = {40, kIommuMapReadable | kIommuMapWriteable, 5, 0, 0x7000'0000, 0x4000, 0};
  IommuIoasMap mapped = map;
  mapped.iova = 0x1'0000;
  Answer(FindIommufdIoctl(kIommuIoasMap), kIommufdFd, map, mapped, 0);
  Answer(FindIommufdIoctl(kIommuIoasMap), kIommufdFd, map, map, -ENOMEM);
  map.flags |= kIommuMapFixedIova;
  map.iova = 0x2'0000;
  Answer(FindIommufdIoctl(kIommuIoasMap), kIommufdFd, map, map, -EEXIST);
  Answer(FindIommufdIoctl(kIommuIoasUnmap), kIommufdFd, IommuIoasUnmap{24, 5, 0, UINT64_MAX},
         IommuIoasUnmap{24, 5, 0, 0x4000}, 0);
  Answer(FindIommufdIoctl(kIommuIoasUnmap), kIommufdFd, IommuIoasUnmap{24, 5, 0x1000, 0x1000}, -ENOENT);
  Answer(FindIommufdIoctl(kIommuIoasMapFile), kIommufdFd,
         IommuIoasMapFile{40, kIommuMapFixedIova, 5, 9, 0x8000, 0x1000, 0x3'0000});
  Answer(FindIommufdIoctl(kIommuIoasCopy), kIommufdFd, IommuIoasCopy{40, 7, 6, 5, 0x1000, 0x5'0000, 0x4'0000});
  Answer(FindIommufdIoctl(kIommuOption), kIommufdFd, IommuOption{24, 1, 0, 0, 5, 0});
  Answer(FindIommufdIoctl(kIommuOption), kIommufdFd, IommuOption{24, 0, 1, 0, 0, 1});
  Answer(FindIommufdIoctl(kIommuVfioIoas), kIommufdFd, IommuVfioIoas{12, 5, kIommuVfioIoasSet, 0});
  Answer(FindIommufdIoctl(kIommuIoasChangeProcess), kIommufdFd, IommuIoasChangeProcess{8, 0});
  Answer(FindIommufdIoctl(kIommuDestroy), kIommufdFd, IommuDestroy{8, 5});
  Answer(FindIommufdIoctl(kIommuIoasAlloc), kIommufdFd, IommuIoasAlloc{12, 0, 5});
  // A struct that is shorter than its size can be.
  Answer(FindIommufdIoctl(kIommuIoasMap), kIommufdFd, IommuIoasMap{4, 7, 5, 0, 1, 2, 3}, -EINVAL);
  return 0;
}

TEST("address spaces of an iommufd have numbers, and their mappings the executor's columns") {
  TestRecording recording;
  RUN_TARGET(recording, "iommufd");
  const auto rows = recording.Rows();
  REQUIRE(rows.size() == 15);
  CHECK(rows[0].op == Op::iommufd_ioas_alloc && rows[0].obj == 2);
  CHECK(rows[1].op == Op::iommufd_ioas_map && rows[1].obj == 2 && rows[1].iova == 0x10000 && rows[1].len == 0x4000);
  CHECK(rows[1].hva == 0x70000000 && rows[1].flags == 6 && rows[1].dur_ns == 500);
  CHECK(rows[2].error == ENOMEM && !Has(rows[2], kHasIova) && Has(rows[2], kHasHva));
  CHECK(rows[3].error == EEXIST && Has(rows[3], kHasIova) && rows[3].iova == 0x20000);
  CHECK(rows[4].op == Op::iommufd_ioas_unmap && rows[4].len == UINT64_MAX && rows[4].result == 0x4000);
  CHECK(rows[5].error == ENOENT && rows[5].iova == 0x1000 && rows[5].len == 0x1000 && !Has(rows[5], kHasResult));
  CHECK(rows[6].op == Op::iommufd_ioas_map_file && rows[6].offset == 0x8000 && rows[6].iova == 0x30000);
  CHECK(!Has(rows[6], kHasHva));
  CHECK(rows[7].op == Op::iommufd_ioas_copy && rows[7].obj == 3 && rows[7].offset == 0x40000);
  CHECK(rows[7].iova == 0x50000);
  CHECK(rows[8].op == Op::iommufd_option && rows[8].obj == 2 && rows[8].attrs == 1 && Has(rows[8], kHasFlags));
  CHECK(rows[9].obj == 1 && rows[9].result == 1 && !Has(rows[9], kHasFlags));
  CHECK(rows[10].op == Op::iommufd_vfio_ioas && rows[10].obj == 1);
  CHECK(rows[11].op == Op::iommufd_ioas_change_process && rows[11].obj == 1);
  CHECK(rows[12].op == Op::iommufd_destroy && rows[12].obj == 2);
  CHECK(rows[13].obj == 4);
  CHECK(rows[14].error == EINVAL && !Has(rows[14], kHasHva));
}

TARGET(page_tables) {
  EnterObject(kIommufdFd, Kind::kIommufd);
  EXPECT(EnterObject(kDeviceFd, Kind::kDevice, 4).number() == 2);
  Answer(FindVfioIoctl(kVfioDeviceBindIommufd), kDeviceFd, VfioDeviceBindIommufd{16, 0, kIommufdFd, 11});
  IommuHwptAlloc alloc = {};
  alloc.size = sizeof alloc;
  alloc.flags = kIommuHwptFaultIdValid;
  alloc.dev_id = 11;
  alloc.pt_id = 3;
  alloc.out_hwpt_id = 12;
  alloc.data_type = 1;
  alloc.fault_id = 13;
  Answer(FindIommufdIoctl(kIommuFaultQueueAlloc), kIommufdFd, IommuFaultQueueAlloc{16, 0, 13, 99});
  Answer(FindIommufdIoctl(kIommuHwptAlloc), kIommufdFd, alloc);
  IommuHwptInvalidate invalidate = {32, 12, 0, 1, 16, 4, 0};
  IommuHwptInvalidate done = invalidate;
  done.entry_num = 3;
  Answer(FindIommufdIoctl(kIommuHwptInvalidate), kIommufdFd, invalidate, done, 0);
  Answer(FindIommufdIoctl(kIommuViommuAlloc), kIommufdFd, IommuViommuAlloc{24, 0, 2, 11, 12, 14});
  Answer(FindIommufdIoctl(kIommuVdeviceAlloc), kIommufdFd, IommuVdeviceAlloc{24, 14, 11, 15, 0x77});
  Answer(FindVfioIoctl(kVfioDeviceAttachIommufdPt), kDeviceFd, VfioDeviceAttachIommufdPt{12, 0, 3, 0xdead});
  Answer(FindVfioIoctl(kVfioDeviceAttachIommufdPt), kDeviceFd, VfioDeviceAttachIommufdPt{16, 1, 3, 7});
  Answer(FindVfioIoctl(kVfioDeviceDetachIommufdPt), kDeviceFd, VfioDeviceDetachIommufdPt{12, 0, 0});
  IommuTestCmd command = MakeIommuTestCmd(kIommuTestMockDomain, 3);
  command.mock_domain = {21, 22, 23};
  Answer(FindIommufdIoctl(kIommuTestCmd), kIommufdFd, command);
  Answer(FindIommufdIoctl(kIommuTestCmd), kIommufdFd, MakeIommuTestCmd(kIommuTestMdCheckMap, 22));
  alloc.dev_id = 23;
  alloc.flags = 0;
  Answer(FindIommufdIoctl(kIommuHwptAlloc), kIommufdFd, alloc, -ENOMEM);
  return 0;
}

TEST("page tables, queues and devices are told by their numbers") {
  TestRecording recording;
  RUN_TARGET(recording, "page_tables");
  const auto rows = recording.Rows();
  REQUIRE(rows.size() == 11);
  CHECK(rows[0].op == Op::vfio_device_bind_iommufd && rows[0].obj == 2 && rows[0].attrs == 4);
  CHECK(rows[1].op == Op::iommufd_fault_queue_alloc && rows[1].obj == 3);
  CHECK(rows[2].op == Op::iommufd_hwpt_alloc && rows[2].obj == 4 && rows[2].offset == 3 && rows[2].flags == 4);
  CHECK(rows[2].attrs == (1 | uint64_t{2} << 32));
  CHECK(rows[3].op == Op::iommufd_hwpt_invalidate && rows[3].obj == 4 && rows[3].len == 64 && rows[3].result == 3);
  CHECK(rows[4].op == Op::iommufd_viommu_alloc && rows[4].obj == 5 && rows[4].attrs == (2 | uint64_t{2} << 32));
  CHECK(rows[5].op == Op::iommufd_vdevice_alloc && rows[5].offset == 0x77 && rows[5].attrs == uint64_t{2} << 32);
  CHECK(rows[6].op == Op::vfio_attach_iommufd_pt && rows[6].obj == 2 && !Has(rows[6], kHasAttrs));
  CHECK(rows[7].attrs == 7 && rows[7].flags == 1);
  CHECK(rows[8].op == Op::vfio_detach_iommufd_pt && !Has(rows[8], kHasAttrs));
  CHECK(rows[9].op == Op::iommufd_test_mock_domain);
  const uint32_t mock = rows[9].obj;
  CHECK(rows[10].error == ENOMEM && rows[10].attrs == (1 | uint64_t{mock} << 32) && !Has(rows[10], kHasObj));
}

TARGET(containers) {
  EnterObject(kContainerFd, Kind::kContainer);
  EnterObject(kGroupFd, Kind::kGroup, 26);
  Answer(FindVfioIoctl(VFIO_GROUP_SET_CONTAINER), kGroupFd, kContainerFd);
  AnswerValue(FindVfioIoctl(VFIO_SET_IOMMU), kContainerFd, VFIO_TYPE1v2_IOMMU);
  Answer(FindVfioIoctl(VFIO_IOMMU_MAP_DMA), kContainerFd,
         vfio_iommu_type1_dma_map{32, 3, 0x7f00'0000, 0x10'0000, 0x2000});
  const auto unmap = [](uint32_t flags, uint64_t iova, uint64_t size, uint64_t unmapped, long returned) {
    struct Unmap {
      uint32_t argsz, flags;
      uint64_t iova, size;
    };
    const Unmap before = {24, flags, iova, size};
    Unmap after = before;
    after.size = unmapped;
    Answer(FindVfioIoctl(VFIO_IOMMU_UNMAP_DMA), kContainerFd, before, after, returned);
  };
  unmap(0, 0x10'0000, 0x8000, 0x2000, 0);
  unmap(VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, 0x6000, 0);
  unmap(0, 0x10'1000, 0x1000, 0x1000, -EINVAL);
  struct Info {
    vfio_iommu_type1_info info;
    uint32_t pad;
    vfio_iommu_type1_info_dma_avail avail;
  };
  Info info = {};
  info.info.argsz = sizeof info;
  info.info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
  info.info.cap_offset = offsetof(Info, avail);
  info.avail = {{VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1, 0}, 65535};
  Answer(FindVfioIoctl(VFIO_IOMMU_GET_INFO), kContainerFd, info);
  // A first call, to learn how much room it takes: the offset is that of a capability that is not there.
  info.info.argsz = 24;
  Answer(FindVfioIoctl(VFIO_IOMMU_GET_INFO), kContainerFd, info);
  info.info.argsz = sizeof info;
  info.info.cap_offset = 0xffff'fff8;
  Answer(FindVfioIoctl(VFIO_IOMMU_GET_INFO), kContainerFd, info);
  return 0;
}

TEST("a container says its group, and what UNMAP_DMA was asked for as well as what it did") {
  TestRecording recording;
  RUN_TARGET(recording, "containers");
  const auto rows = recording.Rows();
  REQUIRE(rows.size() == 8);
  CHECK(rows[0].op == Op::vfio_set_iommu && rows[0].obj == 1 && rows[0].attrs == 26 && rows[0].flags == 3);
  CHECK(rows[1].op == Op::vfio_map_dma && rows[1].iova == 0x100000 && rows[1].len == 0x2000 && rows[1].flags == 3);
  CHECK(rows[1].hva == 0x7f000000);
  CHECK(rows[2].op == Op::vfio_unmap_dma && rows[2].len == 0x8000 && rows[2].result == 0x2000);
  CHECK(!Has(rows[3], kHasLen) && !Has(rows[3], kHasIova) && rows[3].flags == 2 && rows[3].result == 0x6000);
  CHECK(rows[4].error == EINVAL && rows[4].len == 0x1000 && !Has(rows[4], kHasResult));
  CHECK(rows[5].op == Op::vfio_iommu_get_info && Has(rows[5], kHasResult) && rows[5].result == 65535);
  CHECK(!Has(rows[6], kHasResult));
  CHECK(!Has(rows[7], kHasResult));
}

TARGET(in_place) {
  EnterObject(kGmemFd, Kind::kGuestMemfd);
  EnterObject(kVmFd, Kind::kVm);
  KvmMemoryAttributes2 attributes = {0x4000, 0x20'0000, 8, 0, 0, {}};
  Answer(FindKvmIoctl(0xc080aed2), kGmemFd, attributes);
  attributes.error_offset = 0x5000;
  Answer(FindKvmIoctl(0xc080aed2), kGmemFd, attributes, -EAGAIN);
  Answer(FindKvmIoctl(0xc080aed2), kGmemFd, attributes, -ENOTTY);
  Answer(FindKvmIoctl(0xc040aed6), kVmFd, attributes);
  EXPECT(FindKvmIoctl(0xc080aed2) != FindKvmIoctl(0x4020aed2));
  EXPECT(!(FindKvmIoctl(0x4020aed2)->kinds & Bit(Kind::kGuestMemfd)));
  return 0;
}

TEST("in-place conversion is of a file's range, and says where it failed") {
  TestRecording recording;
  RUN_TARGET(recording, "in_place");
  const auto rows = recording.Rows(Op::kvm_set_memory_attributes2);
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].obj == 1 && rows[0].offset == 0x4000 && rows[0].len == 0x200000 && rows[0].attrs == 8);
  CHECK(!Has(rows[0], kHasGpa) && rows[0].result == 0);
  CHECK(rows[1].error == EAGAIN && Has(rows[1], kHasResult) && rows[1].result == 0x5000);
  // The kernel did not write it back.
  CHECK(rows[2].error == ENOTTY && !Has(rows[2], kHasResult));
  CHECK(rows[3].obj == 2 && rows[3].gpa == 0x4000 && !Has(rows[3], kHasOffset));
}

TARGET(names) {
  EXPECT(NameOfDevice("/dev/kvm").kind == Kind::kKvm);
  EXPECT(NameOfDevice("/dev/iommu").kind == Kind::kIommufd);
  EXPECT(NameOfDevice("/dev/vfio/vfio").kind == Kind::kContainer);
  EXPECT(NameOfDevice("/dev/vfio/12").kind == Kind::kGroup && NameOfDevice("/dev/vfio/12").index == 12);
  EXPECT(NameOfDevice("/dev/vfio/noiommu-3").index == 3);
  EXPECT(NameOfDevice("/dev/vfio/devices/vfio7").kind == Kind::kDevice);
  EXPECT(NameOfDevice("/dev/vfio/devices/vfio7").index == 7);
  for (const char* const other : {"/dev/kvmx", "/dev/vfio/", "/dev/vfio/12x", "kvm", "", "/dev/vfio/devices/"}) {
    EXPECT(NameOfDevice(other).kind == Kind::kOther);
  }
  return 0;
}

TEST("devices are known by their paths") {
  TestRecording recording;
  RUN_TARGET(recording, "names");
}

TARGET(many_ids) {
  for (uint32_t id = 1; id <= 20000; ++id) NumberOfId(1, id);
  EXPECT(NumberOfId(1, 1) == 1 && NumberOfId(1, 2) == 2);
  EXPECT(NumberOfId(1, 20000) == 0 && NumberOfId(1, 0) == 0);
  ForgetId(1, 2);
  EXPECT(NumberOfId(1, 2) > 2);
  return 0;
}

TEST("more ids than can be kept in mind have no number") {
  TestRecording recording;
  RUN_TARGET(recording, "many_ids");
}

}  // namespace
}  // namespace cvmtrace::preload

RECORD_TEST_MAIN()
