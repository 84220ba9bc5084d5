#include "residency.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace cvmtrace {
namespace {

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

// linux/mman.h of Linux 6.5; under our own names so that either header compiles.
struct CachestatRange {
  uint64_t off;
  uint64_t len;
};
struct Cachestat {
  uint64_t nr_cache;
  uint64_t nr_dirty;
  uint64_t nr_writeback;
  uint64_t nr_evicted;
  uint64_t nr_recently_evicted;
};
static_assert(sizeof(Cachestat) == 40);

void SetBits(std::vector<uint8_t>& bits, uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; ++i) bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | 1u << (i % 8));
}

// Halves a range until each part is full or empty. `known` is its count, so that the second half costs no call of its
// own.
bool Fill(int fd, uint64_t first, uint64_t pages, uint64_t known, std::vector<uint8_t>& bits) {
  if (known == 0) return true;
  if (known >= pages) {
    SetBits(bits, first, pages);
    return true;
  }
  const uint64_t half = pages / 2;
  const auto counted = CountResidentPages(fd, first, half);
  if (!counted) return false;
  const uint64_t left = counted.value();
  return Fill(fd, first, half, left, bits) &&
         Fill(fd, first + half, pages - half, known > left ? known - left : 0, bits);
}

}  // namespace

Result<uint64_t> CountResidentPages(int fd, uint64_t first, uint64_t pages) {
  CachestatRange range = {first * kPageSize, pages * kPageSize};
  Cachestat stat = {};
  if (::syscall(SYS_cachestat, fd, &range, &stat, 0) != 0) return LastError("cachestat");
  return stat.nr_cache;
}

Result<uint64_t> ResidentBytes(const Object* object) {
  if (!object || !object->IsMemory() || !object->fd)
    return Error{EBADF, "cachestat", "no such object, or it has no file"};
  if (object->hugetlb) return Error{EOPNOTSUPP, "cachestat", "hugetlb"};
  const auto pages = CountResidentPages(object->fd.get(), 0, object->size / kPageSize);
  if (!pages) return pages.error();
  return pages.value() * kPageSize;
}

Result<std::vector<uint8_t>> ResidentPages(const Object* object) {
  auto bytes = ResidentBytes(object);
  if (!bytes) return bytes.error();
  const uint64_t pages = object->size / kPageSize;
  std::vector<uint8_t> bits((pages + 7) / 8);
  if (!Fill(object->fd.get(), 0, pages, bytes.value() / kPageSize, bits)) return LastError("cachestat");
  return bits;
}

}  // namespace cvmtrace
