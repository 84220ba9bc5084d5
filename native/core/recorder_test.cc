// A recorder's memory as a target sees it, its deliveries and its end.
#include "recorder.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <deque>

#include "secure_execution.h"
#include "testing/fake_target.h"
#include "testing/open_fds.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

// Collects what is delivered.
struct Deliveries {
  std::unique_ptr<Recorder> Record(const RecorderOptions& options) {
    auto recorder = Recorder::Create(options, [this](std::unique_ptr<RecordedBatch> batch) {
      const std::lock_guard lock(mutex);
      done.push_back(std::move(batch));
      arrived.notify_one();
    });
    return recorder ? std::move(recorder).value() : nullptr;
  }

  std::unique_ptr<RecordedBatch> Next() {
    std::unique_lock lock(mutex);
    arrived.wait(lock, [this] { return !done.empty(); });
    auto batch = std::move(done.front());
    done.pop_front();
    return batch;
  }

  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<std::unique_ptr<RecordedBatch>> done;
};

// The area as a target opens it.
struct Target {
  explicit Target(const Recorder& recorder) : fd(::open(recorder.path().c_str(), O_RDWR | O_CLOEXEC)) {
    struct stat status {};
    ::fstat(fd.get(), &status);
    const auto bytes = static_cast<size_t>(status.st_size);
    map = ScopedMap(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), bytes);
  }

  RecordAreaHeader& header() { return *reinterpret_cast<RecordAreaHeader*>(map.data()); }

  ScopedFd fd;
  ScopedMap map;
};

short LockOf(int fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_len = 1;
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 ? lock.l_type : short{-1};
}

TEST("a target finds the area by its path, locked while the recorder lives, and cannot make it smaller") {
  const int fds = CountOpenFds();
  Deliveries deliveries;
  auto recorder = deliveries.Record({.ring_bytes = 5000, .block_when_full = false});
  REQUIRE(recorder);
  {
    Target target(*recorder);
    REQUIRE(target.map);
    CHECK(target.header().magic == kRecordAreaMagic);
    CHECK(target.header().ring_records == 8192 / kRecordBytes);
    CHECK(target.header().file_bytes == target.map.size());
    CHECK(target.header().block_when_full == 0);
    CHECK(::ftruncate(target.fd.get(), 4096) != 0);
    CHECK(LockOf(target.fd.get()) == F_WRLCK);
    recorder.reset();
    CHECK(LockOf(target.fd.get()) == F_UNLCK);
    CHECK(target.header().stopped.load() == 1);
  }
  CHECK(CountOpenFds() == fds);
}

TEST("rows arrive as columns, and null is the end") {
  Deliveries deliveries;
  auto recorder = deliveries.Record({});
  REQUIRE(recorder);
  Target target(*recorder);
  REQUIRE(target.map);
  FakeThread thread(target.map.data(), 0, OwnPid(), OwnTid());
  const uint64_t now = NowNs();
  Record record = CallRecord(Op::gmem_allocate, now, 4096);
  record.present |= kHasText;
  strcpy(record.text, "text");
  thread.Write(record);
  Record failed = CallRecord(Op::kvm_create_vm, now + 1);
  failed.present = kHasDur;
  failed.error = ENOTTY;
  thread.Write(failed);
  recorder->Mark("phase", now + 2);
  recorder->Stop();
  recorder->Request();
  const auto batch = deliveries.Next();
  REQUIRE(batch);
  REQUIRE(batch->rows() == 3);
  CHECK(batch->ts_ns[0] == now - recorder->clock_base_ns());
  CHECK(batch->op[2] == Op::mark);
  CHECK(batch->error[1] == ENOTTY);
  CHECK(batch->gpa[0] == 4096);
  REQUIRE(batch->bitmap.gpa);
  CHECK(batch->bitmap.gpa[0] == 1);
  REQUIRE(batch->bitmap.dur_ns);
  CHECK(batch->bitmap.dur_ns[0] == 3);
  CHECK(batch->tid[1] == OwnTid());
  CHECK(!batch->iova);
  REQUIRE(batch->details().size() == 2);
  CHECK(batch->details()[0].second == "text");
  CHECK(batch->details()[1].second == "phase");
  recorder->Request();
  CHECK(!deliveries.Next());
  CHECK(target.header().stopped.load() == 1);
  CHECK(recorder->totals().rows == 3);
  recorder->Request();
  CHECK(!deliveries.Next());
}

TEST("a request is answered within a while though nothing happens") {
  Deliveries deliveries;
  auto recorder = deliveries.Record({});
  REQUIRE(recorder);
  recorder->Request();
  recorder->Request();
  CHECK(deliveries.Next()->rows() == 0);
  CHECK(deliveries.Next()->rows() == 0);
  recorder->Request();
  recorder.reset();
  CHECK(deliveries.done.size() == 1);
}

TEST("a ring that is filled again and again loses nothing to a writer that waits") {
  Deliveries deliveries;
  auto recorder = deliveries.Record({.ring_bytes = 4096});
  REQUIRE(recorder);
  Target target(*recorder);
  REQUIRE(target.map);
  FakeThread thread(target.map.data(), 0, OwnPid(), OwnTid());
  constexpr uint64_t kRows = 200'000;
  uint64_t written = 0;
  uint64_t read = 0;
  bool ordered = true;
  bool stopped = false;
  while (true) {
    recorder->Request();
    std::unique_ptr<RecordedBatch> batch;
    while (!batch && written < kRows) {
      const Record record = CallRecord(Op::gmem_allocate, NowNs(), written);
      if (thread.slot().head.load() - thread.slot().tail.load() < 4096 / kRecordBytes) {
        thread.Write(record);
        ++written;
      }
      const std::lock_guard lock(deliveries.mutex);
      if (deliveries.done.empty()) continue;
      batch = std::move(deliveries.done.front());
      deliveries.done.pop_front();
    }
    if (written == kRows && !stopped) {
      stopped = true;
      recorder->Stop();
    }
    if (!batch) batch = deliveries.Next();
    if (!batch) break;
    for (size_t i = 0; i < batch->rows(); ++i) ordered &= batch->gpa[i] == read++;
  }
  CHECK(read == kRows);
  CHECK(ordered);
  CHECK(recorder->totals().damaged == 0);
}

TEST("what makes a program run in secure-execution mode") {
  CHECK(!strcmp(SecureExecution("/bin/sh"), ""));
  CHECK(!strcmp(SecureExecution("/no/such/file"), ""));
  char path[] = "/tmp/cvmtrace-secure-XXXXXX";
  const ScopedFd fd(::mkstemp(path));
  REQUIRE(fd);
  if (::getuid() == 0) {
    // Root's own are not; another user's are.
    CHECK(::fchmod(fd.get(), 04755) == 0);
    CHECK(!strcmp(SecureExecution(path), ""));
    CHECK(::fchown(fd.get(), 1, 1) == 0 && ::fchmod(fd.get(), 04755) == 0);
    CHECK(!strcmp(SecureExecution(path), "setuid"));
    CHECK(::fchmod(fd.get(), 02755) == 0);
    CHECK(!strcmp(SecureExecution(path), "setgid"));
    CHECK(::fchmod(fd.get(), 02745) == 0);
    CHECK(!strcmp(SecureExecution(path), ""));
  }
  ::unlink(path);
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
