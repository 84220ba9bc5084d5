// Processes, threads and signals of a target, full rings and lost recorders.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "testing/recording.h"

extern char** environ;

namespace cvmtrace::preload {
namespace {

constexpr off_t kPage = 4096;

// Each call is a row, of what any host has.
int MakeRam() {
  const int ram = ::memfd_create("ram", MFD_CLOEXEC);
  EXPECT(ram >= 0 && ::ftruncate(ram, 1 << 20) == 0);
  return ram;
}
void Punch(int ram, off_t page) { EXPECT(::fallocate(ram, 3, page * kPage, kPage) == 0); }

std::vector<uint64_t> Pages(TestRecording& recording) {
  std::vector<uint64_t> pages;
  for (const Record& row : recording.Rows(Op::ram_punch_hole)) pages.push_back(row.offset / kPage);
  std::sort(pages.begin(), pages.end());
  return pages;
}

TARGET(fork) {
  const int ram = MakeRam();
  Punch(ram, 1);
  const pid_t child = ::fork();
  if (child == 0) {
    Punch(ram, 2);
    const pid_t grandchild = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (grandchild == 0) {
      Punch(ram, 3);
      _exit(0);
    }
    int status;
    EXPECT(::waitpid(grandchild, &status, 0) == grandchild && status == 0);
    Punch(ram, 4);
    _exit(0);
  }
  int status;
  EXPECT(::waitpid(child, &status, 0) == child && status == 0);
  Punch(ram, 5);
  return 0;
}

TEST("children have a ring of their own and know the same objects") {
  TestRecording recording;
  RUN_TARGET(recording, "fork");
  CHECK(recording.header().processes == 3);
  CHECK(Pages(recording) == std::vector<uint64_t>{1, 2, 3, 4, 5});
  const uint64_t expected[3] = {2, 2, 1};
  uint32_t pids[3];
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(recording.slot(i).state == kSlotClaimed && recording.slot(i).head == expected[i]);
    pids[i] = recording.slot(i).pid;
    CHECK(pids[i] == recording.slot(i).tid);
  }
  CHECK(pids[0] != pids[1] && pids[1] != pids[2] && pids[0] != pids[2]);
  for (const Record& row : recording.Rows()) CHECK(row.obj == 1);
}

TARGET(exec) {
  const int ram = MakeRam();
  Punch(ram, 1);
  EXPECT(::fcntl(ram, F_SETFD, 0) == 0);
  EXPECT(::dup2(ram, 100) == 100);
  ::execl("/proc/self/exe", "target", "--target", "executed", nullptr);
  return 1;
}
TARGET(executed) {
  Punch(100, 2);
  return 0;
}

TEST("a new program attaches again, and recognises what it inherited") {
  TestRecording recording;
  RUN_TARGET(recording, "exec");
  CHECK(recording.header().processes == 2);
  CHECK(Pages(recording) == std::vector<uint64_t>{1, 2});
}

TARGET(vfork) {
  const int ram = MakeRam();
  const int kept = MakeRam();
  Punch(ram, 1);
  // What a child of vfork does to its descriptors is not done to ours.
  const pid_t child = ::vfork();
  if (child == 0) {
    ::close(ram);
    ::dup2(kept, ram);
    ::close(kept);
    ::execl("/bin/true", "true", nullptr);
    _exit(1);
  }
  int status;
  EXPECT(::waitpid(child, &status, 0) == child && status == 0);
  Punch(ram, 2);
  char* arguments[] = {const_cast<char*>("true"), nullptr};
  pid_t spawned;
  EXPECT(::posix_spawn(&spawned, "/bin/true", nullptr, nullptr, arguments, environ) == 0);
  EXPECT(::waitpid(spawned, &status, 0) == spawned && status == 0);
  Punch(kept, 3);
  return 0;
}

TEST("vfork leaves the parent's descriptors known as they are") {
  TestRecording recording;
  RUN_TARGET(recording, "vfork");
  const auto rows = recording.Rows(Op::ram_punch_hole);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].obj == 1 && rows[1].obj == 1 && rows[2].obj == 2);
  CHECK(recording.header().objects == 2);
}

TARGET(threads) {
  const int ram = MakeRam();
  for (int round = 0; round < 3; ++round) {
    std::thread first([&] {
      for (int i = 0; i < 100; ++i) Punch(ram, 1);
    });
    std::thread second([&] {
      for (int i = 0; i < 100; ++i) Punch(ram, 2);
    });
    first.join();
    second.join();
  }
  return 0;
}

TEST("a thread that ends leaves its rows and its slot") {
  TestRecording recording;
  RUN_TARGET(recording, "threads");
  CHECK(recording.Rows().size() == 600);
  for (uint32_t i = 0; i < 6; ++i) {
    CHECK(recording.slot(i).state == kSlotEnded);
    CHECK(recording.slot(i).head == 100);
    CHECK(recording.slot(i).pid != recording.slot(i).tid);
  }
}

std::atomic<int> punched = 0;
TARGET(cancelled) {
  const int ram = MakeRam();
  pthread_t thread;
  EXPECT(::pthread_create(
             &thread, nullptr,
             [](void* fd) -> void* {
               for (;; ++punched) Punch(static_cast<int>(reinterpret_cast<intptr_t>(fd)), 1);
             },
             reinterpret_cast<void*>(static_cast<intptr_t>(ram))) == 0);
  while (punched < 10) ::usleep(100);
  EXPECT(::pthread_cancel(thread) == 0);
  void* result;
  EXPECT(::pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
  Punch(ram, 2);
  return 0;
}

TEST("a thread can be cancelled in a recorded call") {
  TestRecording recording({.ring_records = 1 << 16, .block_when_full = false});
  RUN_TARGET(recording, "cancelled");
  CHECK(recording.slot(0).state == kSlotEnded);
  REQUIRE(!Pages(recording).empty());
  CHECK(Pages(recording).back() == 2);
}

TARGET(killed) {
  const int ram = MakeRam();
  for (int i = 1; i <= 10; ++i) Punch(ram, i);
  ::raise(SIGKILL);
  return 0;
}

TEST("what a killed target did is kept") {
  TestRecording recording;
  CHECK(recording.Run("killed") == 128 + SIGKILL);
  CHECK(recording.Rows().size() == 10);
}

int signal_ram = -1;
std::atomic<int> signals_handled = 0;
void OnSignal(int) {
  const int before = errno;
  if (::fallocate(signal_ram, 3, 7 * kPage, kPage) == 0) ++signals_handled;
  errno = before;
}

// As many signals as come, at any place in a hook.
TARGET(signals) {
  signal_ram = MakeRam();
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  EXPECT(::sigaction(SIGALRM, &action, nullptr) == 0);
  const itimerval often = {{0, 50}, {0, 50}};
  EXPECT(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
  constexpr int kCalls = 100000;
  for (int i = 0; i < kCalls; ++i) {
    EXPECT(::fallocate(signal_ram, 3, (i % 5) * kPage, kPage) == 0);
  }
  const itimerval never = {};
  EXPECT(::setitimer(ITIMER_REAL, &never, nullptr) == 0);
  EXPECT(::fallocate(signal_ram, 3, 8 * kPage, signals_handled.load() * kPage) == 0);
  return 0;
}

TEST("a call in a signal's handler neither loses nor tears a row") {
  TestRecording recording({.ring_records = 1 << 17});
  const pid_t pid = recording.Start("signals");
  // Each row is looked at as soon as it can be: then at the latest it must be there.
  bool whole = true;
  ThreadSlot& slot = recording.slot(0);
  uint64_t seen = 0;
  for (bool ended = false; !ended;) {
    ended = recording.HasEnded(pid);
    const uint64_t head = slot.head.load(std::memory_order_acquire);
    for (; seen < head; ++seen) {
      const Record& row = recording.ring(0)[seen];
      whole &= row.op == Op::ram_punch_hole && row.ts_ns != 0 && row.obj == 1 && row.error == 0;
    }
  }
  REQUIRE(recording.Wait(pid) == 0);
  const auto rows = recording.Rows();
  size_t calls = 0;
  size_t handled = 0;
  for (const Record& row : rows) {
    calls += row.offset < 5 * kPage;
    handled += row.offset == 7 * kPage;
  }
  CHECK(whole);
  CHECK(calls == 100000);
  CHECK(handled > 0);
  CHECK(handled == rows.back().len / kPage && rows.back().offset == 8 * kPage);
  CHECK(rows.size() == calls + handled + 1);
}

sigjmp_buf before_call;
TARGET(jumps) {
  signal_ram = MakeRam();
  struct sigaction action = {};
  action.sa_handler = [](int) { siglongjmp(before_call, 1); };
  EXPECT(::sigaction(SIGALRM, &action, nullptr) == 0);
  static int round = 0;
  for (; round < 50; ++round) {
    if (sigsetjmp(before_call, 1)) continue;
    const itimerval once = {{0, 0}, {0, 100 + round}};
    EXPECT(::setitimer(ITIMER_REAL, &once, nullptr) == 0);
    char byte;
    int ends[2];
    EXPECT(::pipe(ends) == 0);
    // Waits in a call that is not over when the handler leaves it.
    Punch(signal_ram, 1);
    static_cast<void>(!::read(ends[0], &byte, 1));
  }
  Punch(signal_ram, 2);
  return 0;
}

TEST("a handler that jumps away leaves the thread recorded") {
  TestRecording recording;
  RUN_TARGET(recording, "jumps");
  REQUIRE(!Pages(recording).empty());
  CHECK(Pages(recording).back() == 2);
}

TARGET(full) {
  const int ram = MakeRam();
  for (int i = 0; i < 1000; ++i) Punch(ram, 1);
  return 0;
}

TEST("with a full ring rows are dropped and counted") {
  TestRecording recording({.ring_records = 64, .block_when_full = false});
  RUN_TARGET(recording, "full");
  CHECK(recording.slot(0).head == 64);
  CHECK(recording.slot(0).dropped == 936);
  CHECK(recording.slot(0).blocked_ns == 0);
}

TEST("with a full ring a target waits, if the recorder wants that, and loses nothing") {
  TestRecording recording({.ring_records = 64});
  const pid_t pid = recording.Start("full");
  uint64_t taken = 0;
  ThreadSlot& slot = recording.slot(0);
  bool ordered = true;
  uint64_t last = 0;
  while (taken < 1000) {
    while (slot.head.load(std::memory_order_acquire) == taken && !recording.HasEnded(pid)) ::usleep(100);
    REQUIRE(slot.head > taken);
    ::usleep(200);
    for (const uint64_t head = slot.head.load(std::memory_order_acquire); taken < head; ++taken) {
      const Record& row = recording.ring(0)[taken % 64];
      ordered &= row.op == Op::ram_punch_hole && row.ts_ns >= last;
      last = row.ts_ns;
    }
    slot.tail.store(taken, std::memory_order_release);
  }
  CHECK(recording.Wait(pid) == 0);
  CHECK(ordered);
  CHECK(slot.dropped == 0);
  CHECK(slot.blocked_ns > 0);
}

TEST("a target does not wait for a recorder that has died") {
  TestRecording recording({.ring_records = 64, .lock = false});
  const uint64_t limit_ns = 2'000'000'000;
  RUN_TARGET(recording, "full");
  CHECK(recording.slot(0).dropped == 936);
  CHECK(recording.slot(0).blocked_ns > 50'000'000 && recording.slot(0).blocked_ns < limit_ns);
}

TEST("a target that waits goes on when the recording is stopped") {
  TestRecording recording({.ring_records = 64});
  const pid_t pid = recording.Start("full");
  while (recording.slot(0).head.load() < 64 && !recording.HasEnded(pid)) ::usleep(1000);
  recording.header().stopped = 1;
  CHECK(recording.Wait(pid) == 0);
}

TARGET(nothing) {
  const int ram = MakeRam();
  Punch(ram, 1);
  return 0;
}

TEST("another build's memory is left alone") {
  for (int field = 0; field < 4; ++field) {
    TestRecording recording;
    RecordAreaHeader& header = recording.header();
    if (field == 0) header.magic += 1;
    if (field == 1) header.header_bytes += 8;
    if (field == 2) header.record_bytes += 8;
    if (field == 3) header.file_bytes *= 2;
    RUN_TARGET(recording, "nothing");
    CHECK(header.processes == 0);
    CHECK(recording.slot(0).state == kSlotFree);
  }
}

TEST("rows without a slot are counted") {
  TestRecording recording;
  for (uint32_t i = 0; i < kThreadSlots; ++i) recording.slot(i).state = kSlotClaimed;
  RUN_TARGET(recording, "nothing");
  CHECK(recording.header().dropped_without_slot == 1);
}

}  // namespace
}  // namespace cvmtrace::preload

RECORD_TEST_MAIN()
