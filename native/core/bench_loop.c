// The loops that the executor is measured against, as one would write them by hand: one kernel call after another, the
// clock read only before the first and after the last. Prints JSON.
//
//   bench_loop KIND COUNT
//
// KIND:
// - madvise: madvise(MADV_NORMAL) on one page of anonymous memory, about the cheapest call that the executor knows
//   (ram_madvise).
// - gmem-allocate4k: fallocate(KEEP_SIZE) of each 4 KiB page of a guest_memfd of COUNT pages behind a slot, in order
//   (gmem_allocate).
// - gmem-punch4k: the same with PUNCH_HOLE, after all of it was allocated in one call (gmem_punch_hole).
// - ram-allocate4k, ram-punch4k: the same on a mapped memfd, for hosts without /dev/kvm (ram_allocate, ram_punch_hole).
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
  __u64 size;
  __u64 flags;
  __u64 reserved[6];
};
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif
#ifndef KVM_SET_USER_MEMORY_REGION2
struct kvm_userspace_memory_region2 {
  __u32 slot;
  __u32 flags;
  __u64 guest_phys_addr;
  __u64 memory_size;
  __u64 userspace_addr;
  __u64 guest_memfd_offset;
  __u32 guest_memfd;
  __u32 pad1;
  __u64 pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#define KVM_MEM_GUEST_MEMFD (1u << 2)
#endif

enum { kPageSize = 4096 };

static void Fail(const char* call) {
  fprintf(stderr, "bench_loop: %s: %s\n", call, strerror(errno));
  exit(1);
}

static uint64_t NowNs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int OpenGuestMemfd(uint64_t size) {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) Fail("open(/dev/kvm)");
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) Fail("ioctl(KVM_CREATE_VM)");
  struct kvm_create_guest_memfd create = {.size = size};
  const int gmem = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &create);
  if (gmem < 0) Fail("ioctl(KVM_CREATE_GUEST_MEMFD)");
  // Behind a slot, as guest memory is: a punch then also takes the pages away from the guest.
  void* const shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (shared == MAP_FAILED) Fail("mmap");
  struct kvm_userspace_memory_region2 region = {.flags = KVM_MEM_GUEST_MEMFD,
                                                .memory_size = size,
                                                .userspace_addr = (uint64_t)shared,
                                                .guest_memfd = (__u32)gmem};
  if (ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region) != 0) Fail("ioctl(KVM_SET_USER_MEMORY_REGION2)");
  return gmem;
}

static int OpenMemfd(uint64_t size) {
  const int fd = memfd_create("bench_loop", MFD_CLOEXEC);
  if (fd < 0) Fail("memfd_create");
  if (ftruncate(fd, (off_t)size) != 0) Fail("ftruncate");
  // Mapped, as guest memory is and as ram_create does: a punch then also looks for page table entries to take away.
  if (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) Fail("mmap");
  return fd;
}

static uint64_t TimeMadvise(uint64_t count) {
  void* const page = mmap(NULL, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) Fail("mmap");
  const uint64_t start = NowNs();
  for (uint64_t i = 0; i < count; ++i) {
    if (madvise(page, kPageSize, MADV_NORMAL) != 0) Fail("madvise");
  }
  return NowNs() - start;
}

static uint64_t TimeFallocate(int fd, int mode, uint64_t count) {
  const uint64_t start = NowNs();
  for (uint64_t i = 0; i < count; ++i) {
    if (fallocate(fd, mode, (off_t)(i * kPageSize), kPageSize) != 0) Fail("fallocate");
  }
  return NowNs() - start;
}

int main(int argc, char** argv) {
  const char* const kind = argc == 3 ? argv[1] : "";
  const uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
  const bool gmem = strncmp(kind, "gmem-", 5) == 0;
  const char* const action = gmem ? kind + 5 : strncmp(kind, "ram-", 4) == 0 ? kind + 4 : "";
  const bool punch = strcmp(action, "punch4k") == 0;
  const bool allocate = strcmp(action, "allocate4k") == 0;
  uint64_t ns;
  if (count == 0) {
    fprintf(stderr, "usage: bench_loop madvise|gmem-allocate4k|gmem-punch4k|ram-allocate4k|ram-punch4k COUNT\n");
    return 2;
  }
  if (strcmp(kind, "madvise") == 0) {
    ns = TimeMadvise(count);
  } else if (punch || allocate) {
    const int fd = gmem ? OpenGuestMemfd(count * kPageSize) : OpenMemfd(count * kPageSize);
    if (punch && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)(count * kPageSize)) != 0) Fail("fallocate");
    ns = TimeFallocate(fd, punch ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_KEEP_SIZE, count);
  } else {
    fprintf(stderr, "bench_loop: no kind %s\n", kind);
    return 2;
  }
  printf("{\"kind\":\"%s\",\"count\":%" PRIu64 ",\"ns_per_op\":%.2f}\n", kind, count, (double)ns / (double)count);
  return 0;
}
