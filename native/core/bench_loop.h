// What the executor is measured against: the calls as one would write them by hand, in plain C.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Makes `count` calls of `kind`, one after another, with the clock read only before the first and after the last. What
// they need is made before and taken away after. Returns ns per call; ends the process with a message if a call fails.
//
// - madvise: madvise(MADV_NORMAL) on one page of anonymous memory, about the cheapest call that the executor knows.
// - gmem-allocate4k: fallocate(KEEP_SIZE) of each 4 KiB page of a guest_memfd of `count` pages behind a slot, in order.
// - gmem-punch4k: the same with PUNCH_HOLE, after each page was written through a mapping, as what a VMM gives back was
//   used before. Needs a guest_memfd that can be mapped.
// - ram-punch4k: the same on a memfd, for hosts without /dev/kvm.
double RunLoop(const char* kind, uint64_t count);

#ifdef __cplusplus
}
#endif
