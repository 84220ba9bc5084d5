#include "area.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "raw_call.h"
#include "thread_ring.h"
#include "vcpu_run.h"

namespace cvmtrace::preload {

constinit Area area = {};

namespace {

// Above what shells and daemons number themselves, below the usual limit of 1024: the kernel's table of descriptors,
// which every fork copies, is as long as the highest one.
constexpr long kLowestAreaFd = 960;

constinit std::atomic<int> area_fd = -1;
constinit dev_t area_device = 0;
constinit ino_t area_inode = 0;
constinit char area_path[PATH_MAX] = {};
constinit std::atomic<uint64_t> generations = 0;

int OpenArea() {
  const long fd = RawCall(SYS_openat, AT_FDCWD, area_path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return -1;
  const long high = RawCall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, kLowestAreaFd);
  // Not with a low limit of descriptors.
  if (high < 0) return static_cast<int>(fd);
  RawCall(SYS_close, fd);
  return static_cast<int>(high);
}

bool IsArea(int fd) {
  struct stat status;
  return fd >= 0 && RawCall(SYS_fstat, fd, &status) == 0 && status.st_dev == area_device && status.st_ino == area_inode;
}

bool IsWhole(const RecordAreaHeader& header, uint64_t bytes) {
  const uint64_t records = header.ring_records;
  return header.magic == kRecordAreaMagic && header.header_bytes == sizeof(RecordAreaHeader) &&
         header.record_bytes == sizeof(Record) && records >= 4096 / sizeof(Record) && (records & (records - 1)) == 0 &&
         records <= uint64_t{1} << 32 && header.file_bytes <= bytes &&
         RingOffset(kThreadSlots, records) <= header.file_bytes;
}

void* Map(size_t bytes, int protection, int flags, int fd) {
  const long address = RawCall(SYS_mmap, 0, bytes, protection, flags, fd, 0);
  return IsError(address) ? nullptr : reinterpret_cast<void*>(address);
}

bool MapArea(int fd) {
  struct stat status;
  if (RawCall(SYS_fstat, fd, &status) != 0) return false;
  const size_t bytes = RingOffset(0, 0);
  if (static_cast<uint64_t>(status.st_size) < bytes) return false;
  void* const shared = Map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  if (!shared) return false;
  void* const page = Map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  auto* const header = static_cast<RecordAreaHeader*>(shared);
  // Without it (Linux before 4.14) a child would write into its parent's ring.
  const bool wiped = page && RawCall(SYS_madvise, page, 4096, MADV_WIPEONFORK) == 0;
  if (!wiped || !IsWhole(*header, static_cast<uint64_t>(status.st_size))) {
    RawCall(SYS_munmap, shared, bytes);
    if (page) RawCall(SYS_munmap, page, 4096);
    return false;
  }
  area_device = status.st_dev;
  area_inode = status.st_ino;
  area.header = header;
  area.vcpu_slots = reinterpret_cast<VcpuSlot*>(static_cast<char*>(shared) + VcpuSlotsOffset());
  area.thread_slots = reinterpret_cast<ThreadSlot*>(static_cast<char*>(shared) + ThreadSlotsOffset());
  area.generation = static_cast<std::atomic<uint64_t>*>(page);
  return true;
}

bool TryAttach() {
  const char* const path = ::getenv(kRecordVariable);
  if (!path || strlen(path) >= sizeof area_path) return false;
  strcpy(area_path, path);
  const int fd = OpenArea();
  if (fd < 0) return false;
  if (!MapArea(fd)) {
    RawCall(SYS_close, fd);
    return false;
  }
  area_fd.store(fd, std::memory_order_relaxed);
  EnterChild();
  return true;
}

}  // namespace

bool Attach() {
  uint32_t untried = kUntried;
  // Who comes meanwhile, another thread or a signal's handler, forwards.
  if (!area.state.compare_exchange_strong(untried, kAttaching)) return untried == kAttached;
  const bool attached = TryAttach();
  area.state.store(attached ? kAttached : kInert, std::memory_order_release);
  return attached;
}

void EnterChild() {
  uint64_t none = 0;
  if (!area.generation->compare_exchange_strong(none, generations.fetch_add(1) + 1)) return;
  area.pid.store(static_cast<pid_t>(RawCall(SYS_getpid)), std::memory_order_relaxed);
  area.header->processes.fetch_add(1, std::memory_order_relaxed);
  ForgetParentsThread();
  ForgetVcpusOfParent();
}

bool SharesMemoryOfParent() {
  return static_cast<pid_t>(RawCall(SYS_getpid)) != area.pid.load(std::memory_order_relaxed);
}

int AreaFd() {
  const int known = area_fd.load(std::memory_order_relaxed);
  if (IsArea(known)) return known;
  const int fd = OpenArea();
  if (fd < 0) return -1;
  if (!IsArea(fd)) {
    RawCall(SYS_close, fd);
    return -1;
  }
  area_fd.store(fd, std::memory_order_relaxed);
  return fd;
}

bool IsAreaFd(int fd) {
  return area.state.load(std::memory_order_relaxed) == kAttached && fd >= 0 &&
         fd == area_fd.load(std::memory_order_relaxed) && IsArea(fd);
}

bool RecorderLives() {
  const int fd = AreaFd();
  // The path leads through the recorder's /proc entry.
  if (fd < 0) return false;
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  if (RawCall(SYS_fcntl, fd, F_OFD_GETLK, &lock) != 0) return false;
  return lock.l_type != F_UNLCK;
}

}  // namespace cvmtrace::preload
