// A recorder in small: the shared memory, and this same program run again as a target that writes to it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "../../core/scoped_fd.h"
#include "../../core/testing/tap.h"
#include "../record_area.h"

namespace cvmtrace::preload {

// TARGET(name) { ... } runs in a recorded process of its own; what it returns is the exit status.
struct Target {
  const char* name;
  int (*body)();
};
inline std::vector<Target> targets;
inline bool AddTarget(const char* name, int (*body)()) {
  targets.push_back({name, body});
  return true;
}

// Ends a target with the line number for a status, as no more than that is seen of it.
#define EXPECT(...)                                                    \
  do {                                                                 \
    if (!(__VA_ARGS__)) {                                              \
      fprintf(stderr, "# %d: not true: %s\n", __LINE__, #__VA_ARGS__); \
      _exit(99);                                                       \
    }                                                                  \
  } while (false)

#define TARGET(name)                                                                            \
  static int Target_##name();                                                                   \
  static const bool target_added_##name = ::cvmtrace::preload::AddTarget(#name, Target_##name); \
  static int Target_##name()

// A target's body and the harness share nothing but this exit status: the host has no such thing.
inline constexpr int kCannot = 77;

struct Options {
  uint64_t ring_records = 4096;
  bool block_when_full = true;
  bool lock = true;
};

class TestRecording {
 public:
  explicit TestRecording(const Options& options = {}) {
    bytes_ = RingOffset(kThreadSlots, options.ring_records);
    fd_.reset(::memfd_create("record-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(bytes_)) != 0) abort();
    void* const shared = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (shared == MAP_FAILED) abort();
    start_ = static_cast<char*>(shared);
    header().magic = kRecordAreaMagic;
    header().header_bytes = sizeof(RecordAreaHeader);
    header().record_bytes = sizeof(Record);
    header().ring_records = options.ring_records;
    header().file_bytes = bytes_;
    header().block_when_full = options.block_when_full;
    if (options.lock) Lock(F_WRLCK);
  }
  ~TestRecording() { ::munmap(start_, bytes_); }
  TestRecording(const TestRecording&) = delete;
  TestRecording& operator=(const TestRecording&) = delete;

  RecordAreaHeader& header() { return *reinterpret_cast<RecordAreaHeader*>(start_); }
  VcpuSlot& vcpu(uint32_t index) { return reinterpret_cast<VcpuSlot*>(start_ + VcpuSlotsOffset())[index]; }
  ThreadSlot& slot(uint32_t index) { return reinterpret_cast<ThreadSlot*>(start_ + ThreadSlotsOffset())[index]; }
  const Record* ring(uint32_t index) {
    return reinterpret_cast<const Record*>(start_ + RingOffset(index, header().ring_records));
  }
  std::string path() const { return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get()); }

  // As if the recorder had died: its lock goes with it.
  void Lock(short type) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    if (::fcntl(fd_.get(), F_OFD_SETLK, &lock) != 0) abort();
  }

  pid_t Start(const char* target) {
    const std::string shared = path();
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::setenv(kRecordVariable, shared.c_str(), 1);
    if (const char* const library = LibraryPath()) ::setenv("LD_PRELOAD", library, 1);
    ::execl("/proc/self/exe", "target", "--target", target, nullptr);
    _exit(98);
  }
  // Exit status, or 128 + signal.
  int Wait(pid_t pid) {
    int status;
    if (::waitpid(pid, &status, 0) != pid) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  bool HasEnded(pid_t pid) {
    siginfo_t info = {};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
  }
  int Run(const char* target) { return Wait(Start(target)); }

  // Rows of all threads, in the order of their slots; of what is in the rings, that is.
  std::vector<Record> Rows() {
    std::vector<Record> rows;
    for (uint32_t index = 0; index < kThreadSlots; ++index) {
      for (uint64_t at = slot(index).tail; at < slot(index).head; ++at) {
        rows.push_back(ring(index)[at % header().ring_records]);
      }
    }
    return rows;
  }
  std::vector<Record> Rows(Op op) {
    std::vector<Record> rows = Rows();
    rows.erase(std::remove_if(rows.begin(), rows.end(), [op](const Record& row) { return row.op != op; }), rows.end());
    return rows;
  }

 private:
  // None where the hooks are part of this program: a sanitizer has to come first in a process.
  static const char* LibraryPath() {
#ifdef CVMTRACE_RECORD_LIBRARY
    return CVMTRACE_RECORD_LIBRARY;
#else
    return nullptr;
#endif
  }

  ScopedFd fd_;
  size_t bytes_ = 0;
  char* start_ = nullptr;
};

inline bool Has(const Record& row, uint16_t present) { return (row.present & present) == present; }

inline int RunTargetOrTests(int argc, char** argv) {
  if (argc != 3 || strcmp(argv[1], "--target") != 0) return tap::RunAll();
  for (const Target& target : targets) {
    if (strcmp(target.name, argv[2]) == 0) return target.body();
  }
  return 97;
}

}  // namespace cvmtrace::preload

#define RECORD_TEST_MAIN() \
  int main(int argc, char** argv) { return ::cvmtrace::preload::RunTargetOrTests(argc, argv); }

// Runs a target; the test is skipped where the host cannot do what it does.
#define RUN_TARGET(recording, target)                                     \
  do {                                                                    \
    const int status = (recording).Run(target);                           \
    if (status == ::cvmtrace::preload::kCannot) SKIP("not on this host"); \
    REQUIRE(status == 0);                                                 \
  } while (false)
