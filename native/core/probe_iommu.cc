// VFIO containers and iommufd, as far as they go without a device; and its mock, with one.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "iommufd_abi.h"
#include "iommufd_test_abi.h"
#include "objects.h"
#include "probe.h"
#include "scoped_fd.h"
#include "scoped_map.h"
#include "vfio_abi.h"

namespace cvmtrace {
namespace {

struct Extension {
  const char* key;
  const char* name;
  int number;
};

#define CVMTRACE_EXTENSION(key, name) \
  { key, #name, name }
constexpr Extension kExtensions[] = {
    CVMTRACE_EXTENSION("type1", VFIO_TYPE1_IOMMU),
    CVMTRACE_EXTENSION("type1v2", VFIO_TYPE1v2_IOMMU),
    CVMTRACE_EXTENSION("unmap_all", VFIO_UNMAP_ALL),
    CVMTRACE_EXTENSION("update_vaddr", VFIO_UPDATE_VADDR),
};
#undef CVMTRACE_EXTENSION

void ProbeVfio(ProbeLog& log) {
  const ScopedFd container(::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
  if (!log.Note("vfio.open", "open(/dev/vfio/vfio)", container ? 0 : -1)) return;
  log.Note("vfio.api_version", "ioctl(VFIO_GET_API_VERSION)", ::ioctl(container.get(), VFIO_GET_API_VERSION), true);
  for (const Extension& extension : kExtensions) {
    log.Note(std::string("vfio.ext.") + extension.key,
             std::string("ioctl(VFIO_CHECK_EXTENSION, ") + extension.name + ")",
             ::ioctl(container.get(), VFIO_CHECK_EXTENSION, extension.number), true);
  }
}

// Destroys on its way out what an iommufd made. Closing the iommufd would too.
class ScopedId {
 public:
  ScopedId(int iommufd, uint32_t id) : iommufd_(iommufd), id_(id) {}
  ~ScopedId() { static_cast<void>(Destroy()); }
  ScopedId(const ScopedId&) = delete;
  ScopedId& operator=(const ScopedId&) = delete;

  [[nodiscard]] int Destroy() {
    if (id_ == 0) return 0;
    IommuDestroy destroy = {sizeof destroy, std::exchange(id_, 0)};
    return ::ioctl(iommufd_, kIommuDestroy, &destroy);
  }

 private:
  const int iommufd_;
  uint32_t id_;
};

// A page of a memfd, written.
struct Page {
  ScopedFd fd;
  ScopedMap map;
};

Page MakePage() {
  Page page = {ScopedFd(::memfd_create("cvmtrace", MFD_CLOEXEC)), {}};
  if (!page.fd || ::ftruncate(page.fd.get(), kPageSize) != 0) return page;
  page.map = ScopedMap(::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, page.fd.get(), 0), kPageSize);
  if (page.map) page.map.data()[0] = 1;
  return page;
}

void ProbeMapFile(ProbeLog& log, int iommufd, uint32_t ioas, const Page& page) {
  IommuIoasMapFile map = {};
  map.size = sizeof map;
  map.flags = kIommuMapWriteable | kIommuMapReadable;
  map.ioas_id = ioas;
  map.fd = page.fd.get();
  map.length = kPageSize;
  if (!log.Note("iommufd.ioas_map_file", "ioctl(IOMMU_IOAS_MAP_FILE)", ::ioctl(iommufd, kIommuIoasMapFile, &map))) {
    return;
  }
  IommuIoasUnmap unmap = {sizeof unmap, ioas, map.iova, kPageSize};
  ::ioctl(iommufd, kIommuIoasUnmap, &unmap);
}

void ProbeFaultQueue(ProbeLog& log, int iommufd) {
  IommuFaultQueueAlloc alloc = {sizeof alloc, 0, 0, 0};
  const int returned = ::ioctl(iommufd, kIommuFaultQueueAlloc, &alloc);
  if (!log.Note("iommufd.fault_queue_alloc", "ioctl(IOMMU_FAULT_QUEUE_ALLOC)", returned)) return;
  // Declared first, as a queue can be destroyed only after its file was closed.
  const ScopedId queue(iommufd, alloc.out_fault_id);
  const ScopedFd file(static_cast<int>(alloc.out_fault_fd));
}

// A mock device, and a page that its page table holds as long as it is mapped: true if each step says so. The step that
// does not is in the log, with its errno.
bool ProbeMock(ProbeLog& log, int iommufd, uint32_t ioas, const Page& page) {
  const auto step = [&](const char* call, int returned) {
    if (returned == 0) return true;
    return log.NoteError("iommufd.mock", call, errno);
  };
  IommuTestCmd device = MakeIommuTestCmd(kIommuTestMockDomain, ioas);
  if (!step("ioctl(IOMMU_TEST_CMD, IOMMU_TEST_OP_MOCK_DOMAIN)", ::ioctl(iommufd, kIommuTestCmd, &device))) return false;
  ScopedId mock(iommufd, device.mock_domain.out_stdev_id);
  IommuIoasMap map = {};
  map.size = sizeof map;
  map.flags = kIommuMapFixedIova | kIommuMapWriteable | kIommuMapReadable;
  map.ioas_id = ioas;
  map.user_va = page.map.address();
  map.length = kPageSize;
  map.iova = kMockApertureStart;
  if (!step("ioctl(IOMMU_IOAS_MAP)", ::ioctl(iommufd, kIommuIoasMap, &map))) return false;
  IommuTestCmd check = MakeIommuTestCmd(kIommuTestMdCheckMap, device.mock_domain.out_hwpt_id);
  check.check_map = {map.iova, map.length, map.user_va};
  const bool mapped =
      step("ioctl(IOMMU_TEST_CMD, IOMMU_TEST_OP_MD_CHECK_MAP)", ::ioctl(iommufd, kIommuTestCmd, &check));
  IommuIoasUnmap unmap = {sizeof unmap, ioas, map.iova, map.length};
  const int unmapped = ::ioctl(iommufd, kIommuIoasUnmap, &unmap);
  return mapped && step("ioctl(IOMMU_IOAS_UNMAP)", unmapped) && step("ioctl(IOMMU_DESTROY)", mock.Destroy()) &&
         log.NoteError("iommufd.mock", "ioctl(IOMMU_TEST_CMD, IOMMU_TEST_OP_MD_CHECK_MAP)", 0);
}

void ProbeIommufd(ProbeLog& log) {
  const ScopedFd iommufd(::open("/dev/iommu", O_RDWR | O_CLOEXEC));
  if (!log.Note("iommufd.open", "open(/dev/iommu)", iommufd ? 0 : -1)) return;
  const int fd = iommufd.get();
  // A struct that is too short is refused before anything is done: EINVAL if the kernel has the command
  // (CONFIG_IOMMUFD_TEST), else ENOTTY.
  uint32_t too_short = sizeof too_short;
  const int returned = ::ioctl(fd, kIommuTestCmd, &too_short);
  const bool has_mock = log.NoteError("iommufd.test", "ioctl(IOMMU_TEST_CMD)",  //
                                      returned < 0 && errno != EINVAL ? errno : 0);
  ProbeFaultQueue(log, fd);
  IommuIoasAlloc alloc = {sizeof alloc, 0, 0};
  if (!log.Note("iommufd.ioas_alloc", "ioctl(IOMMU_IOAS_ALLOC)", ::ioctl(fd, kIommuIoasAlloc, &alloc))) return;
  ScopedId ioas(fd, alloc.out_ioas_id);
  if (const Page page = MakePage(); page.map) {
    ProbeMapFile(log, fd, alloc.out_ioas_id, page);
    if (has_mock) ProbeMock(log, fd, alloc.out_ioas_id, page);
  }
  log.Note("iommufd.destroy", "ioctl(IOMMU_DESTROY)", ioas.Destroy());
}

}  // namespace

void ProbeIommu(ProbeLog& log) {
  ProbeVfio(log);
  ProbeIommufd(log);
}

}  // namespace cvmtrace
