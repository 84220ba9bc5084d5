// Touching memory that may not be there.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "op_run.h"
#include "scoped_map.h"

namespace cvmtrace {

struct Touched {
  uint64_t pages;  // done before it ended
  int error;       // 0; EFAULT for SIGBUS: no memory, a hole in hugetlb, private guest_memfd; EINTR if cancelled
};

// One access per 4 KiB page to `pages` pages from `first`. `cancelled` is looked at every 2 MiB.
Touched TouchPages(char* first, uint64_t pages, bool write, const std::atomic<bool>& cancelled);

// The body of a *_touch operation: the pages that [offset, offset + len) overlaps, flags 1 = write. Its result is the
// pages touched, also when it fails. The range must be inside the map.
void TimeTouch(OpRun& run, const ScopedMap& map);

}  // namespace cvmtrace
