// Reading what the target passed a pointer to, without a fault if the pointer is bad: the kernel then says EFAULT, and
// so must we leave it.
#pragma once

#include <stddef.h>

namespace cvmtrace::preload {

// Copies `bytes`, at least 8 and at most a page; false if they cannot be read. A system call (some 90 ns) unless they
// lie in the page of the stack that we run on, where most callers keep such structs.
bool CopyIfReadable(void* to, const void* from, size_t bytes);

}  // namespace cvmtrace::preload
