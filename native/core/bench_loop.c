#include "bench_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
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

struct GuestMemfd {
  int kvm;
  int vm;
  int fd;
  void* shared;
};

static struct GuestMemfd OpenGuestMemfd(uint64_t size, uint64_t flags) {
  struct GuestMemfd gmem;
  gmem.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (gmem.kvm < 0) Fail("open(/dev/kvm)");
  gmem.vm = ioctl(gmem.kvm, KVM_CREATE_VM, 0);
  if (gmem.vm < 0) Fail("ioctl(KVM_CREATE_VM)");
  struct kvm_create_guest_memfd create = {.size = size, .flags = flags};
  gmem.fd = ioctl(gmem.vm, KVM_CREATE_GUEST_MEMFD, &create);
  if (gmem.fd < 0) Fail("ioctl(KVM_CREATE_GUEST_MEMFD)");
  // Behind a slot, as guest memory is: a punch then also takes the pages away from the guest.
  gmem.shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (gmem.shared == MAP_FAILED) Fail("mmap");
  struct kvm_userspace_memory_region2 region = {.flags = KVM_MEM_GUEST_MEMFD,
                                                .memory_size = size,
                                                .userspace_addr = (uint64_t)gmem.shared,
                                                .guest_memfd = (__u32)gmem.fd};
  if (ioctl(gmem.vm, KVM_SET_USER_MEMORY_REGION2, &region) != 0) Fail("ioctl(KVM_SET_USER_MEMORY_REGION2)");
  return gmem;
}

static void CloseGuestMemfd(struct GuestMemfd gmem, uint64_t size) {
  close(gmem.fd);
  close(gmem.vm);
  close(gmem.kvm);
  munmap(gmem.shared, size);
}

static uint64_t TimeFallocate(int fd, int mode, uint64_t count, struct CallTime* times) {
  const uint64_t start = NowNs();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t before = times ? NowNs() : 0;
    const int result = fallocate(fd, mode, (off_t)(i * kPageSize), kPageSize);
    if (times) times[i] = (struct CallTime){before, NowNs() - before, result};
    if (result != 0) Fail("fallocate");
  }
  return NowNs() - start;
}

// Of pages that are written and stay mapped, as guest memory is: a punch also takes page table entries away.
static uint64_t TimePunch(int fd, uint64_t count, struct CallTime* times) {
  const uint64_t size = count * kPageSize;
  volatile char* const map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) Fail("mmap");
  for (uint64_t at = 0; at < size; at += kPageSize) map[at] = 1;
  const uint64_t ns = TimeFallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, count, times);
  munmap((void*)map, size);
  return ns;
}

static uint64_t TimeMadvise(uint64_t count, struct CallTime* times) {
  void* const page = mmap(NULL, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) Fail("mmap");
  const uint64_t start = NowNs();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t before = times ? NowNs() : 0;
    const int result = madvise(page, kPageSize, MADV_NORMAL);
    if (times) times[i] = (struct CallTime){before, NowNs() - before, result};
    if (result != 0) Fail("madvise");
  }
  const uint64_t ns = NowNs() - start;
  munmap(page, kPageSize);
  return ns;
}

double RunLoop(const char* kind, uint64_t count, struct CallTime* times) {
  const uint64_t size = count * kPageSize;
  uint64_t ns = 0;
  if (strcmp(kind, "madvise") == 0) {
    ns = TimeMadvise(count, times);
  } else if (strcmp(kind, "gmem-allocate4k") == 0) {
    const struct GuestMemfd gmem = OpenGuestMemfd(size, 0);
    ns = TimeFallocate(gmem.fd, FALLOC_FL_KEEP_SIZE, count, times);
    CloseGuestMemfd(gmem, size);
  } else if (strcmp(kind, "gmem-punch4k") == 0) {
    const struct GuestMemfd gmem = OpenGuestMemfd(size, kMmapInitShared);
    ns = TimePunch(gmem.fd, count, times);
    CloseGuestMemfd(gmem, size);
  } else if (strcmp(kind, "ram-punch4k") == 0) {
    const int fd = memfd_create("bench_loop", MFD_CLOEXEC);
    if (fd < 0) Fail("memfd_create");
    if (ftruncate(fd, (off_t)size) != 0) Fail("ftruncate");
    ns = TimePunch(fd, count, times);
    close(fd);
  } else {
    errno = EINVAL;
    Fail(kind);
  }
  return (double)ns / (double)count;
}
