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
// - gmem-punch4k: the same with PUNCH_HOLE, after each page was written through a mapping, as what a VMM gives back was
//   used before (gmem_punch_hole). Needs a guest_memfd that can be mapped.
// - ram-allocate4k, ram-punch4k: the same on a memfd, for hosts without /dev/kvm (ram_allocate, ram_punch_hole).
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <pthread.h>
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

// GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED
enum { kPageSize = 4096, kMmapInitShared = 3 };

static void Fail(const char* call) {
  fprintf(stderr, "bench_loop: %s: %s\n", call, strerror(errno));
  exit(1);
}

static uint64_t NowNs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int OpenGuestMemfd(uint64_t size, uint64_t flags) {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) Fail("open(/dev/kvm)");
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) Fail("ioctl(KVM_CREATE_VM)");
  struct kvm_create_guest_memfd create = {.size = size, .flags = flags};
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
  return fd;
}

// Mapped, as guest memory is: a punch then also looks for page table entries to take away.
static char* Map(int fd, uint64_t size) {
  char* const map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) Fail("mmap");
  return map;
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

struct Run {
  const char* kind;
  uint64_t count;
  uint64_t ns;  // set by RunLoop
  bool known;   // set by RunLoop: there is such a kind
};

static void* RunLoop(void* argument) {
  struct Run* const run = argument;
  const bool gmem = strncmp(run->kind, "gmem-", 5) == 0;
  const char* const action = gmem ? run->kind + 5 : strncmp(run->kind, "ram-", 4) == 0 ? run->kind + 4 : "";
  const bool punch = strcmp(action, "punch4k") == 0;
  const uint64_t size = run->count * kPageSize;
  run->known = true;
  if (strcmp(run->kind, "madvise") == 0) {
    run->ns = TimeMadvise(run->count);
  } else if (punch || strcmp(action, "allocate4k") == 0) {
    const int fd = gmem ? OpenGuestMemfd(size, punch ? kMmapInitShared : 0) : OpenMemfd(size);
    if (punch || !gmem) {
      volatile char* const map = Map(fd, size);
      for (uint64_t at = 0; punch && at < size; at += kPageSize) map[at] = 1;
    }
    run->ns = TimeFallocate(fd, punch ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_KEEP_SIZE, run->count);
  } else {
    run->known = false;
  }
  return NULL;
}

int main(int argc, char** argv) {
  struct Run run = {argc == 3 ? argv[1] : "", argc == 3 ? strtoull(argv[2], NULL, 10) : 0, 0, false};
  if (run.count > 0) {
    // On a second thread, as in the executor and in a VMM: with one thread alone the kernel takes no reference to the
    // file for a call, which is a tenth of a punch.
    pthread_t thread;
    if (pthread_create(&thread, NULL, RunLoop, &run) != 0) Fail("pthread_create");
    pthread_join(thread, NULL);
  }
  if (!run.known) {
    fprintf(stderr, "usage: bench_loop madvise|gmem-allocate4k|gmem-punch4k|ram-allocate4k|ram-punch4k COUNT\n");
    return 2;
  }
  printf("{\"kind\":\"%s\",\"count\":%" PRIu64 ",\"ns_per_op\":%.2f}\n", run.kind, run.count,
         (double)run.ns / (double)run.count);
  return 0;
}
