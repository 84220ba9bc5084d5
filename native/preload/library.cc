// libcvmtrace-record.so: loaded into a VMM by LD_PRELOAD, it sees the calls that convert and map guest memory
// (calls.h) and writes a row for each into memory that it shares with a recorder (record_area.h).
//
// It depends on libc only, allocates nothing, and leaves errno, signals and descriptors as they were. If there is no
// recorder, or another build's, it only forwards.
#include "area.h"
#include "libc_call.h"
#include "thread_ring.h"

namespace cvmtrace::preload {

// Those of hooks_memory.cc and hooks_fd.cc.
void ResolveMemoryCalls();
void ResolveFdCalls();

namespace {

[[gnu::constructor]] void Load() {
  ResolveMemoryCalls();
  ResolveFdCalls();
  PrepareThreads();
  Recording();
}

}  // namespace
}  // namespace cvmtrace::preload
