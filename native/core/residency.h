// Which pages of an object's file are in memory. cachestat(2), Linux 6.5: unlike mincore(2) it also sees the pages that
// fallocate(2) gave a guest_memfd and nobody has touched.
#pragma once

#include <stdint.h>

#include <vector>

#include "objects.h"
#include "result.h"

namespace cvmtrace {

// Pages in memory of `pages` pages from page `first` of a file.
Result<uint64_t> CountResidentPages(int fd, uint64_t first, uint64_t pages);

// Bytes of the file that are in memory. ENOSYS without cachestat, EOPNOTSUPP for hugetlb, EBADF for nullptr, anonymous
// memory and a VM.
Result<uint64_t> ResidentBytes(const Object* object);

// The same per page: bit i of byte i / 8. Few calls where long ranges are full or empty.
Result<std::vector<uint8_t>> ResidentPages(const Object* object);

}  // namespace cvmtrace
