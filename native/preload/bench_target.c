// A program to be recorded, for benchmarks: the same call over and over, which times itself.
//
//   bench_record_target KIND COUNT|SECONDSs THREADS [RATE]
//
// KIND: kvm-cheap    a recorded ioctl that fails early in the kernel: KVM_SET_USER_MEMORY_REGION2 of a slot too high
//       gmem-noop    a recorded fallocate: a hole where a guest_memfd has none to lose
//       other-ioctl  an ioctl of another type, which is only forwarded: FIONREAD of a pipe
//       kvm-api      an ioctl of KVM that is not recorded: KVM_GET_API_VERSION
// COUNT calls of each thread, or for so many seconds; with RATE each thread makes that many a second.
//
// Prints {"kind", "calls": of all threads, "ns": their time in calls, "wall_ns", "threads", "p50": ns of one call, the
// median over batches of 64}. Status 69 if this host has no KVM or guest_memfd.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { kBatch = 64, kBatches = 1 << 16, kMaxThreads = 64, kUnavailable = 69, kUsage = 2 };

// linux/kvm.h of Linux 6.8.
struct region2 {
  uint32_t slot, flags;
  uint64_t guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset;
  uint32_t guest_memfd, pad1;
  uint64_t pad2[14];
};
static const unsigned long set_user_memory_region2 = 0x40a0ae49;
struct create_guest_memfd {
  uint64_t size, flags, reserved[6];
};
static const unsigned long create_guest_memfd_request = 0xc040aed4;

typedef int call_function(int fd);

static int call_kvm_cheap(int vm) {
  struct region2 region = {.slot = 0x7fff, .memory_size = 4096};
  return ioctl(vm, set_user_memory_region2, &region) == -1 && errno == EINVAL;
}
static int call_gmem_noop(int gmem) {
  return fallocate(gmem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
}
static int call_other_ioctl(int pipe) {
  int bytes;
  return ioctl(pipe, FIONREAD, &bytes) == 0;
}
static int call_kvm_api(int kvm) { return ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION; }

struct plan {
  call_function* call;
  int fd;
  uint64_t count;        // 0: until the time is over
  uint64_t duration_ns;  // 0: until the count is reached
  uint64_t rate;         // 0: as fast as it goes
};

struct worker {
  const struct plan* plan;
  pthread_t thread;
  uint64_t calls, ns;
  size_t batches;
  float* batch_ns;  // of one call
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns) {
  const struct timespec until = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void* work(void* argument) {
  struct worker* const worker = argument;
  const struct plan plan = *worker->plan;
  const uint64_t start = now_ns();
  uint64_t end = start;
  while (plan.count ? worker->calls < plan.count : end - start < plan.duration_ns) {
    if (plan.rate) {
      const uint64_t due = start + worker->calls * 1000000000u / plan.rate;
      // In portions of about a millisecond: a sleep is not worth less.
      if (due > now_ns() + 1000000) sleep_until(due);
    }
    const uint64_t before = now_ns();
    for (int i = 0; i < kBatch; ++i) {
      if (!plan.call(plan.fd)) {
        perror("bench_record_target: the call did not end as it should");
        exit(1);
      }
    }
    end = now_ns();
    worker->calls += kBatch;
    worker->ns += end - before;
    worker->batch_ns[worker->batches++ % kBatches] = (float)(end - before) / kBatch;
  }
  return NULL;
}

static int compare(const void* a, const void* b) {
  const float left = *(const float*)a, right = *(const float*)b;
  return (left > right) - (left < right);
}

static float median(const struct worker* workers, size_t count) {
  float* const all = malloc(count * kBatches * sizeof *all);
  size_t values = 0;
  for (size_t i = 0; all && i < count; ++i) {
    const size_t kept = workers[i].batches < kBatches ? workers[i].batches : kBatches;
    memcpy(all + values, workers[i].batch_ns, kept * sizeof *all);
    values += kept;
  }
  if (values == 0) return 0;
  qsort(all, values, sizeof *all, compare);
  const float middle = all[values / 2];
  free(all);
  return middle;
}

static void unavailable(const char* what) {
  fprintf(stderr, "bench_record_target: %s: %s\n", what, strerror(errno));
  exit(kUnavailable);
}

static int open_kvm(void) {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) unavailable("/dev/kvm");
  return kvm;
}

static int make_vm(void) {
  const int vm = ioctl(open_kvm(), KVM_CREATE_VM, 0ul);
  if (vm < 0) unavailable("KVM_CREATE_VM");
  return vm;
}

static struct plan prepare(const char* kind) {
  if (strcmp(kind, "kvm-cheap") == 0) return (struct plan){call_kvm_cheap, make_vm(), 0, 0, 0};
  if (strcmp(kind, "kvm-api") == 0) return (struct plan){call_kvm_api, open_kvm(), 0, 0, 0};
  if (strcmp(kind, "gmem-noop") == 0) {
    struct create_guest_memfd create = {.size = 1 << 20};
    const int gmem = ioctl(make_vm(), create_guest_memfd_request, &create);
    if (gmem < 0) unavailable("KVM_CREATE_GUEST_MEMFD");
    return (struct plan){call_gmem_noop, gmem, 0, 0, 0};
  }
  if (strcmp(kind, "other-ioctl") == 0) {
    int ends[2];
    if (pipe(ends) != 0) unavailable("pipe");
    return (struct plan){call_other_ioctl, ends[0], 0, 0, 0};
  }
  fprintf(stderr, "bench_record_target: no kind %s\n", kind);
  exit(kUsage);
}

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: bench_record_target KIND COUNT|SECONDSs THREADS [RATE]\n");
    return kUsage;
  }
  struct plan plan = prepare(argv[1]);
  char* unit;
  const double amount = strtod(argv[2], &unit);
  if (strcmp(unit, "s") == 0) {
    plan.duration_ns = (uint64_t)(amount * 1e9);
  } else {
    plan.count = (uint64_t)amount;
  }
  const size_t threads = strtoul(argv[3], NULL, 10);
  plan.rate = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
  if (threads == 0 || threads > kMaxThreads || amount <= 0) return kUsage;
  struct worker workers[kMaxThreads] = {0};
  const uint64_t start = now_ns();
  for (size_t i = 0; i < threads; ++i) {
    workers[i].plan = &plan;
    workers[i].batch_ns = malloc(kBatches * sizeof(float));
    if (!workers[i].batch_ns || pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) unavailable("thread");
  }
  uint64_t calls = 0, ns = 0;
  for (size_t i = 0; i < threads; ++i) {
    pthread_join(workers[i].thread, NULL);
    calls += workers[i].calls;
    ns += workers[i].ns;
  }
  printf("{\"kind\":\"%s\",\"calls\":%llu,\"ns\":%llu,\"wall_ns\":%llu,\"threads\":%zu,\"p50\":%.1f}\n", argv[1],
         (unsigned long long)calls, (unsigned long long)ns, (unsigned long long)(now_ns() - start), threads,
         (double)median(workers, threads));
  return 0;
}
