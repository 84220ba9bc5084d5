// What the executor is measured against: the calls as one would write them by hand, in plain C.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What a hand-written loop keeps of each call if it does the executor's job: to time every call.
struct CallTime {
  uint64_t start_ns;
  uint64_t duration_ns;
  int64_t result;
};

// Makes `count` calls of `kind`, one after another, with the clock read before the first and after the last; with
// `times` (room for `count`) also around each call. What the calls need is made before and taken away after. Returns ns
// per call; ends the process with a message if a call fails.
//
// - madvise: madvise(MADV_NORMAL) on one page of anonymous memory, about the cheapest call that the executor knows.
// - gmem-allocate4k: fallocate(KEEP_SIZE) of each 4 KiB page of a guest_memfd of `count` pages behind a slot, in order.
// - gmem-punch4k: the same with PUNCH_HOLE, after each page was written through a mapping, as what a VMM gives back was
//   used before. Needs a guest_memfd that can be mapped.
// - ram-punch4k: the same on a memfd, for hosts without /dev/kvm.
double RunLoop(const char* kind, uint64_t count, struct CallTime* times);

#ifdef __cplusplus
}
#endif
