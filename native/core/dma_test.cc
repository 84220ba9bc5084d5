// Operations of VFIO and iommufd before the kernel's part of them: operands and objects. Their ioctls go to /dev/null
// here, which knows none (ENOTTY); in the lab dma.lab.test.ts runs them for real.
#include <fcntl.h>

#include "handlers.h"
#include "ram.h"
#include "testing/open_fds.h"
#include "testing/runner.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

constexpr double kMiB = 1 << 20;
enum Number : uint32_t {
  kIommufd = 1,
  kIoas,
  kHwpt,
  kQueue,
  kMock,
  kVfio,
  kContainer,
  kHold,
  kMemory,
  kAnonymous,
  kHidden,     // a guest_memfd that cannot be mapped
  kOtherIoas,  // of another iommufd
  kOtherDevice,
  kFree
};

// attrs that name a device and the type 0: its number is above the type's 32 bits.
constexpr double OfDevice(Number device) { return static_cast<double>(device) * 4294967296.0; }

class Bench {
 public:
  Bench() {
    Add(kIommufd, ObjectKind::kIommufd, 0, true);
    Add(kIoas, ObjectKind::kIoas, 1, false);
    Add(kHwpt, ObjectKind::kHwpt, 2, false);
    Add(kQueue, ObjectKind::kFaultQueue, 3, true);
    Add(kMock, ObjectKind::kMockDevice, 4, false);
    Add(kVfio, ObjectKind::kVfioDevice, 0, true);
    Add(kContainer, ObjectKind::kVfioContainer, 0, true);
    Add(kHold, ObjectKind::kGupHold, 0, true);
    objects_.Add(kMemory, CreateRam(1 << 20, ram_flag::kMemfd).value());
    objects_.Add(kAnonymous, CreateRam(1 << 20, 0).value());
    objects_.Add(kHidden, std::make_unique<Object>(Object{ObjectKind::kGuestMemfd, {}, {}, 1 << 20, ENODEV}));
    Add(kOtherIoas, ObjectKind::kIoas, 1, false)->iommufd = other_.get();
    Add(kOtherDevice, ObjectKind::kMockDevice, 5, false)->iommufd = other_.get();
  }

  Objects& objects() { return objects_; }
  const OpRow& row() const { return row_; }

  // errno of one operation.
  int Do(const Operation& operation) {
    const std::vector<double> words = WordsOf({operation});
    auto decoded = Batch::Decode(words.data(), words.size(), {});
    row_ = (*std::get_if<0>(&decoded))->op_row(0);
    run_.Select(row_);
    Handlers()[operation.op](run_);
    return row_.error;
  }

 private:
  static ScopedFd Null() { return ScopedFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

  Object* Add(uint32_t number, ObjectKind kind, uint32_t id, bool has_file) {
    auto object = std::make_unique<Object>(Object{kind, has_file ? Null() : ScopedFd(), {}});
    if (kind != ObjectKind::kIommufd) object->iommufd = objects_.Find(kIommufd)->fd.get();
    object->id = id;
    Object* const added = object.get();
    objects_.Add(number, std::move(object));
    return added;
  }

  Objects objects_;
  const ScopedFd other_ = Null();
  const std::atomic<bool> cancelled_{false};
  OpRun run_{objects_, cancelled_, 0};
  OpRow row_ = {};
};

constexpr Op kOps[] = {Op::vfio_set_iommu,
                       Op::vfio_iommu_get_info,
                       Op::vfio_map_dma,
                       Op::vfio_unmap_dma,
                       Op::vfio_device_bind_iommufd,
                       Op::vfio_attach_iommufd_pt,
                       Op::vfio_detach_iommufd_pt,
                       Op::iommufd_open,
                       Op::iommufd_ioas_alloc,
                       Op::iommufd_destroy,
                       Op::iommufd_ioas_map,
                       Op::iommufd_ioas_map_file,
                       Op::iommufd_ioas_unmap,
                       Op::iommufd_ioas_copy,
                       Op::iommufd_ioas_change_process,
                       Op::iommufd_option,
                       Op::iommufd_vfio_ioas,
                       Op::iommufd_hwpt_alloc,
                       Op::iommufd_hwpt_invalidate,
                       Op::iommufd_fault_queue_alloc,
                       Op::iommufd_viommu_alloc,
                       Op::iommufd_vdevice_alloc,
                       Op::iommufd_test_mock_domain,
                       Op::iommufd_test_md_check_map,
                       Op::iommufd_test_trigger_iopf,
                       Op::iommufd_fault_respond,
                       Op::gup_hold,
                       Op::gup_release};

TEST("an operation without operands is EINVAL") {
  Bench bench;
  for (const Op op : kOps) {
    if (!CHECK(bench.Do({.op = op}) == EINVAL)) printf("# %s\n", kOpNames[static_cast<size_t>(op)]);
  }
}

TEST("an operation on a number that nothing has is EBADF") {
  Bench bench;
  for (const Op op : kOps) {
    // These make what they name: with what is not there.
    if (op == Op::iommufd_open || op == Op::vfio_set_iommu) continue;
    const Operation operation = {.op = op,
                                 .obj = kFree,
                                 .offset = 0,
                                 .len = 4096,
                                 .attrs = op == Op::iommufd_hwpt_invalidate ? 0xdeadbeef : 0.0,
                                 .flags = 0,
                                 .peer = kFree,
                                 .iova = 0};
    if (!CHECK(bench.Do(operation) == EBADF)) printf("# %s\n", kOpNames[static_cast<size_t>(op)]);
  }
  CHECK(bench.Do({.op = Op::vfio_set_iommu, .obj = kFree, .flags = 3, .peer = kIoas}) == EBADF);
}

TEST("a number that is taken is EEXIST") {
  Bench bench;
  CHECK(bench.Do({.op = Op::iommufd_open, .obj = kIoas}) == EEXIST);
  CHECK(bench.Do({.op = Op::vfio_set_iommu, .obj = kIoas, .flags = 3}) == EEXIST);
  CHECK(bench.Do({.op = Op::iommufd_ioas_alloc, .obj = kIoas, .peer = kIommufd}) == EEXIST);
  CHECK(bench.Do({.op = Op::iommufd_fault_queue_alloc, .obj = kIoas, .peer = kIommufd}) == EEXIST);
  CHECK(bench.Do({.op = Op::iommufd_hwpt_alloc, .obj = kIoas, .attrs = OfDevice(kMock), .peer = kIoas}) == EEXIST);
  CHECK(bench.Do({.op = Op::iommufd_test_mock_domain, .obj = kIoas, .peer = kIoas}) == EEXIST);
  CHECK(bench.Do({.op = Op::vfio_device_bind_iommufd, .obj = kIoas, .attrs = 0, .peer = kIommufd}) == EEXIST);
  CHECK(bench.Do({.op = Op::gup_hold, .obj = kIoas, .len = 4096, .peer = kMemory}) == EEXIST);
}

TEST("a mapping is of memory that is there, and says its address") {
  Bench bench;
  const uint64_t address = bench.objects().Find(kMemory)->map.address();
  const struct {
    Op op;
    uint32_t obj;
  } maps[] = {{Op::vfio_map_dma, kContainer}, {Op::iommufd_ioas_map, kIoas}, {Op::iommufd_test_md_check_map, kMock}};
  for (const auto& [op, obj] : maps) {
    const auto map = [&](double peer, double offset, double len) {
      return bench.Do({.op = op,
                       .obj = static_cast<double>(obj),
                       .offset = offset,
                       .len = len,
                       .flags = 7,
                       .peer = peer,
                       .iova = 1 << 24});
    };
    CHECK(map(kMemory, 4096, kMiB - 4096) == ENOTTY);
    CHECK((bench.row().present & present::hva) && bench.row().hva == address + 4096);
    CHECK(!(bench.row().present & present::result));
    CHECK(map(kAnonymous, 0, kMiB) == ENOTTY);
    CHECK(map(kMemory, 4096, kMiB) == EINVAL);
    CHECK(map(kHidden, 0, 4096) == ENODEV);
    CHECK(map(kIoas, 0, 4096) == EBADF);
    CHECK(map(0, 0, 4096) == EBADF);
  }
}

TEST("a fixed place needs an I/O-virtual address, any other does not") {
  Bench bench;
  const auto map = [&](Op op, double flags, double peer) {
    return bench.Do({.op = op, .obj = kIoas, .offset = 0, .len = 4096, .flags = flags, .peer = peer});
  };
  for (const Op op : {Op::iommufd_ioas_map, Op::iommufd_ioas_map_file}) {
    CHECK(map(op, 7, kMemory) == EINVAL);
    CHECK(map(op, 6, kMemory) == ENOTTY);
  }
  CHECK(map(Op::iommufd_ioas_copy, 7, kIoas) == EINVAL);
  CHECK(map(Op::iommufd_ioas_copy, 6, kIoas) == ENOTTY);
}

TEST("without a length an IOAS is unmapped whole, and the row says so") {
  Bench bench;
  CHECK(bench.Do({.op = Op::iommufd_ioas_unmap, .obj = kIoas}) == ENOTTY);
  CHECK(bench.row().iova == 0 && bench.row().len == UINT64_MAX);
  CHECK((bench.row().present & present::len) && (bench.row().present & present::iova));
  CHECK(bench.Do({.op = Op::iommufd_ioas_unmap, .obj = kIoas, .iova = 4096}) == EINVAL);
  CHECK(bench.Do({.op = Op::iommufd_ioas_unmap, .obj = kIoas, .len = 4096}) == EINVAL);
  CHECK(bench.Do({.op = Op::vfio_unmap_dma, .obj = kContainer, .flags = 2}) == ENOTTY);
  CHECK(bench.Do({.op = Op::vfio_unmap_dma, .obj = kContainer, .len = 4096, .flags = 0}) == EINVAL);
}

TEST("ids of two iommufds do not mix") {
  Bench bench;
  CHECK(
      bench.Do({.op = Op::iommufd_ioas_copy, .obj = kIoas, .offset = 0, .len = 4096, .peer = kOtherIoas, .iova = 0}) ==
      EXDEV);
  CHECK(bench.Do({.op = Op::iommufd_vfio_ioas, .obj = kIommufd, .peer = kOtherIoas}) == EXDEV);
  CHECK(bench.Do({.op = Op::vfio_attach_iommufd_pt, .obj = kVfio, .peer = kOtherIoas}) == EXDEV);
  for (const Op op : {Op::iommufd_hwpt_alloc, Op::iommufd_viommu_alloc}) {
    CHECK(bench.Do({.op = op, .obj = kFree, .attrs = OfDevice(kOtherDevice), .peer = kHwpt}) == EXDEV);
    CHECK(bench.Do({.op = op, .obj = kFree, .attrs = OfDevice(kMock), .peer = kHwpt}) == ENOTTY);
  }
}

TEST("what is destroyed has an id; what is not destroyed keeps its number") {
  Bench bench;
  const uint32_t before = bench.objects().count();
  for (const Number number : {kIoas, kHwpt, kQueue, kMock}) {
    CHECK(bench.Do({.op = Op::iommufd_destroy, .obj = static_cast<double>(number)}) == ENOTTY);
  }
  for (const Number number : {kIommufd, kVfio, kContainer, kHold, kMemory}) {
    CHECK(bench.Do({.op = Op::iommufd_destroy, .obj = static_cast<double>(number)}) == EBADF);
  }
  CHECK(bench.Do({.op = Op::gup_release, .obj = kHold}) == ENOTTY);
  CHECK(bench.objects().count() == before);
}

TEST("a removed number is free again, and what it named is closed") {
  const int before = CountOpenFds();
  Objects objects;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(objects.CheckFree(5) == 0);
    objects.Add(5, CreateRam(4096, ram_flag::kMemfd).value());
    CHECK(objects.count() == 1 && objects.CheckFree(5) == EEXIST);
    CHECK(CountOpenFds() == before + 1);
    objects.Remove(5);
    CHECK(objects.count() == 0 && !objects.Find(5));
    CHECK(CountOpenFds() == before);
  }
}

TEST("invalidations are whole entries of a known type, and not without bound") {
  Bench bench;
  const auto invalidate = [&](double type, double len) {
    return bench.Do({.op = Op::iommufd_hwpt_invalidate, .obj = kHwpt, .len = len, .attrs = type, .flags = 0});
  };
  CHECK(invalidate(0xdeadbeef, 8) == ENOTTY);
  CHECK(invalidate(0xdeadbeef, 7) == EINVAL);
  CHECK(invalidate(0xdeadbeef, 2 * kMiB) == EINVAL);
  CHECK(invalidate(1, 8) == EOPNOTSUPP);
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
