#include "ram.h"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

namespace cvmtrace {
namespace {

constexpr uint64_t kHugePageSize = 2u << 20;
// log2 of the page size in the flags' top bits (linux/hugetlb_encode.h); the same bits for mmap and memfd_create.
constexpr unsigned kHuge2m = 21u << 26;

}  // namespace

Result<std::unique_ptr<Object>> CreateRam(uint64_t size, uint64_t flags) {
  const bool hugetlb = flags & ram_flag::kHugetlb2m;
  if ((flags & ~ram_flag::kAll) || size == 0 || size % (hugetlb ? kHugePageSize : kPageSize) != 0) {
    return Error{EINVAL, "ram_create", "flags " + std::to_string(flags) + ", " + std::to_string(size) + " bytes"};
  }
  auto ram = std::make_unique<Object>(Object{ObjectKind::kRam, {}, {}, size});
  ram->hugetlb = hugetlb;
  int map_flags = MAP_PRIVATE | MAP_ANONYMOUS | (hugetlb ? MAP_HUGETLB | static_cast<int>(kHuge2m) : 0);
  if (flags & ram_flag::kMemfd) {
    ram->fd.reset(::memfd_create("cvmtrace", MFD_CLOEXEC | (hugetlb ? MFD_HUGETLB | kHuge2m : 0u)));
    if (!ram->fd) return LastError(hugetlb ? "memfd_create(MFD_HUGETLB)" : "memfd_create");
    if (::ftruncate(ram->fd.get(), static_cast<off_t>(size)) != 0) return LastError("ftruncate", std::to_string(size));
    map_flags = MAP_SHARED;
  }
  ram->map = ScopedMap(::mmap(nullptr, size, PROT_READ | PROT_WRITE, map_flags, ram->fd.get(), 0), size);
  if (!ram->map) return LastError(hugetlb ? "mmap(MAP_HUGETLB)" : "mmap", std::to_string(size));
  if ((flags & ram_flag::kThp) && ::madvise(ram->map.data(), size, MADV_HUGEPAGE) != 0) {
    return LastError("madvise(MADV_HUGEPAGE)");
  }
  return ram;
}

}  // namespace cvmtrace
