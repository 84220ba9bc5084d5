// Order, bounds, damage, ends and counters of a recording, with a target that is written by hand.
#include "recorder_drain.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <random>

#include "testing/fake_target.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

struct Recording {
  explicit Recording(const DrainOptions& options = {}, uint64_t ring_bytes = 65536)
      : area(std::move(RecordArea::Create(ring_bytes, true)).value()),
        base_ns(NowNs()),
        drain(area, base_ns, options) {}

  char* base() { return reinterpret_cast<char*>(&area.header()); }

  // All rows that were released so far, and their details.
  std::vector<RecordedRow> Take() {
    std::vector<RecordedRow> rows;
    while (drain.ready().size() > 0) {
      RecordedRows block = drain.ready().Take();
      for (const auto& [row, text] : block.details) details.emplace_back(rows.size() + row, text);
      rows.insert(rows.end(), block.rows.begin(), block.rows.end());
    }
    return rows;
  }

  std::vector<RecordedRow> RoundAndTake() {
    // A row is released when its start is past, by more than the clock's slack.
    ::usleep(10);
    drain.Round();
    return Take();
  }

  RecordArea area;
  uint64_t base_ns;
  RecorderDrain drain;
  std::vector<std::pair<size_t, std::string>> details;
};

bool Has(const RecordedRow& row, uint16_t bit) { return (row.present & bit) != 0; }

std::vector<uint64_t> GpasOf(const std::vector<RecordedRow>& rows) {
  std::vector<uint64_t> gpas;
  for (const RecordedRow& row : rows) gpas.push_back(row.gpa);
  return gpas;
}

using Gpas = std::vector<uint64_t>;

TEST("rows of two threads come out by their start, with the threads that made them") {
  Recording recording;
  FakeThread one(recording.base(), 0, OwnPid(), OwnTid());
  FakeThread two(recording.base(), 1, OwnPid(), OwnPid());
  const uint64_t now = NowNs();
  one.Write(CallRecord(Op::gmem_allocate, now, 1));
  one.Write(CallRecord(Op::gmem_allocate, now + 2, 3));
  two.Write(CallRecord(Op::gmem_punch_hole, now + 1, 2));
  two.Write(CallRecord(Op::gmem_punch_hole, now + 3, 4));
  const auto rows = recording.RoundAndTake();
  REQUIRE(rows.size() == 4);
  CHECK(GpasOf(rows) == (Gpas{1, 2, 3, 4}));
  CHECK(rows[0].tid == OwnTid());
  CHECK(rows[1].op == Op::gmem_punch_hole);
  CHECK(rows[1].pid == OwnPid());
  CHECK(recording.drain.totals().rows == 4);
  CHECK(recording.drain.totals().threads == 2);
  CHECK(recording.drain.totals().live_processes == 1);
}

TEST("an exit comes before the calls made for it, which wait for its end") {
  Recording recording;
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  VcpuSlot& vcpu = ClaimVcpu(recording.base(), 0, OwnPid(), OwnTid(), 7);
  thread.Write(CallRecord(Op::gmem_allocate, NowNs(), 1));
  thread.OpenExit(vcpu, 2);
  thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 3));
  CHECK(GpasOf(recording.RoundAndTake()) == Gpas{1});
  thread.Write(CallRecord(Op::kvm_set_memory_attributes, NowNs(), 4));
  CHECK(recording.RoundAndTake().empty());
  thread.CloseExit(vcpu);
  thread.Write(CallRecord(Op::gmem_allocate, NowNs(), 5));
  const auto rows = recording.RoundAndTake();
  CHECK(GpasOf(rows) == (Gpas{2, 3, 4, 5}));
  REQUIRE(!rows.empty());
  CHECK(rows[0].op == Op::exit_map_gpa_range);
  CHECK(Has(rows[0], kHasDur));
  CHECK(recording.drain.totals().long_exits == 0);
}

TEST("an exit that is too long for what is held is written without its end, once") {
  Recording recording({.held_rows = 8});
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  VcpuSlot& vcpu = ClaimVcpu(recording.base(), 0, OwnPid(), OwnTid(), 7);
  thread.OpenExit(vcpu, 100);
  for (uint64_t i = 1; i <= 10; ++i) thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), i));
  auto rows = recording.RoundAndTake();
  CHECK(GpasOf(rows) == (Gpas{100, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  REQUIRE(!rows.empty());
  CHECK(!Has(rows[0], kHasDur));
  CHECK(recording.drain.totals().long_exits == 1);
  thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 11));
  CHECK(GpasOf(recording.RoundAndTake()) == Gpas{11});
  thread.CloseExit(vcpu);
  thread.OpenExit(vcpu, 200);
  thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 201));
  CHECK(recording.RoundAndTake().empty());
  thread.CloseExit(vcpu);
  CHECK(GpasOf(recording.RoundAndTake()) == (Gpas{200, 201}));
  CHECK(recording.drain.totals().long_exits == 1);
  CHECK(recording.drain.totals().damaged == 0);
}

TEST("a recording that ends releases all, and exits that are open have no end") {
  Recording recording;
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  VcpuSlot& vcpu = ClaimVcpu(recording.base(), 0, OwnPid(), OwnTid(), 7);
  thread.OpenExit(vcpu, 1);
  thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 2));
  recording.drain.Finish();
  const auto rows = recording.Take();
  CHECK(GpasOf(rows) == (Gpas{1, 2}));
  REQUIRE(!rows.empty());
  CHECK(rows[0].op == Op::exit_map_gpa_range);
  CHECK(!Has(rows[0], kHasDur));
}

TEST("of a target that is killed inside an exit all is kept, and its slot is given back") {
  Recording recording;
  const pid_t child = ::fork();
  if (child == 0) {
    // As a target does: the area by its path, an open file description of its own.
    const int fd = ::open(recording.area.path().c_str(), O_RDWR | O_CLOEXEC);
    const size_t bytes = recording.area.header().file_bytes;
    void* const map = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) ::_exit(1);
    char* const base = static_cast<char*>(map);
    FakeThread thread(base, 0, OwnPid(), OwnTid());
    VcpuSlot& vcpu = ClaimVcpu(base, 0, OwnPid(), OwnTid(), 7);
    vcpu.runs.store(5);
    thread.Write(CallRecord(Op::gmem_allocate, NowNs(), 1));
    thread.OpenExit(vcpu, 2);
    thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 3));
    ::raise(SIGKILL);
  }
  // Not waited for: a process that nobody has waited for has ended all the same.
  siginfo_t info;
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  CHECK(info.si_status == SIGKILL);
  const auto rows = recording.RoundAndTake();
  CHECK(GpasOf(rows) == (Gpas{0, 1, 2, 3}));
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].op == Op::kvm_run);
  CHECK(rows[0].result == 5);
  CHECK(rows[2].op == Op::exit_map_gpa_range);
  CHECK(!Has(rows[2], kHasDur));
  CHECK(rows[2].tid == static_cast<uint32_t>(child));
  CHECK(recording.drain.totals().live_processes == 0);
  CHECK(recording.area.thread(0).state.load() == kSlotFree);
  CHECK(recording.area.ring(0)[0].gpa == 0);
  CHECK(recording.RoundAndTake().empty());
  CHECK(::waitpid(child, nullptr, 0) == child);
}

TEST("a target that is killed between an exit's row and its mark has the exit once, with its end") {
  Recording recording;
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  VcpuSlot& vcpu = ClaimVcpu(recording.base(), 0, OwnPid(), OwnTid(), 7);
  const uint64_t begun = thread.OpenExit(vcpu, 1);
  Record exit = vcpu.exit;
  exit.dur_ns = 5;
  exit.present |= kHasDur;
  thread.Write(exit);
  recording.drain.Finish();
  const auto rows = recording.Take();
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].ts_ns == begun);
  CHECK(Has(rows[0], kHasDur));
}

TEST("the slot of a thread that ended is given back, and its next owner begins anew") {
  Recording recording;
  FakeThread first(recording.base(), 0, OwnPid(), OwnTid());
  for (uint64_t i = 0; i < 300; ++i) first.Write(CallRecord(Op::gmem_allocate, NowNs(), i));
  first.slot().state.store(kSlotEnded);
  CHECK(recording.RoundAndTake().size() == 300);
  CHECK(first.slot().state.load() == kSlotFree);
  FakeThread second(recording.base(), 0, OwnPid(), OwnTid());
  second.Write(CallRecord(Op::gmem_allocate, NowNs(), 7));
  CHECK(GpasOf(recording.RoundAndTake()) == Gpas{7});
  CHECK(recording.drain.totals().threads == 2);
}

TEST("an exit whose thread or vCPU ended has no end, and its place") {
  Recording recording;
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  VcpuSlot& first = ClaimVcpu(recording.base(), 0, OwnPid(), OwnTid(), 7);
  thread.OpenExit(first, 1);
  thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 2));
  CHECK(recording.RoundAndTake().empty());
  first.state.store(kSlotEnded);
  thread.slot().exit_open_ns.store(0);
  auto rows = recording.RoundAndTake();
  CHECK(GpasOf(rows) == (Gpas{1, 2}));
  REQUIRE(!rows.empty());
  CHECK(!Has(rows[0], kHasDur));

  VcpuSlot& second = ClaimVcpu(recording.base(), 1, OwnPid(), OwnTid(), 8);
  thread.OpenExit(second, 3);
  thread.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 4));
  thread.slot().state.store(kSlotEnded);
  CHECK(GpasOf(recording.RoundAndTake()) == (Gpas{3, 4}));

  // Another thread goes on with that vCPU.
  FakeThread other(recording.base(), 1, OwnPid(), OwnTid());
  other.Write(CallRecord(Op::gmem_punch_hole, NowNs(), 5));
  other.CloseExit(second);
  CHECK(GpasOf(recording.RoundAndTake()) == Gpas{5});
  CHECK(recording.drain.totals().vcpus == 2);
  CHECK(recording.drain.totals().damaged == 0);
}

TEST("a slot that the same thread claims again, after execve, ends the one before") {
  Recording recording;
  FakeThread before(recording.base(), 0, OwnPid(), OwnTid());
  before.Write(CallRecord(Op::gmem_allocate, NowNs(), 1));
  CHECK(recording.RoundAndTake().size() == 1);
  FakeThread after(recording.base(), 1, OwnPid(), OwnTid());
  after.Write(CallRecord(Op::gmem_allocate, NowNs(), 2));
  CHECK(GpasOf(recording.RoundAndTake()) == Gpas{2});
  CHECK(before.slot().state.load() == kSlotFree);
  CHECK(after.slot().state.load() == kSlotClaimed);
}

TEST("losses are rows where they happened, and totals") {
  Recording recording({}, 4096);
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  const uint64_t now = NowNs();
  for (uint64_t i = 0; i < 40; ++i) thread.Write(CallRecord(Op::gmem_allocate, now + i, i));
  thread.slot().blocked_ns.store(9);
  recording.area.header().dropped_without_slot.store(3);
  recording.area.header().unreadable.store(2);
  recording.drain.Round();
  recording.drain.Finish();
  const auto rows = recording.Take();
  REQUIRE(rows.size() == 35);
  CHECK(rows[32].op == Op::lost);
  CHECK(rows[32].len == 8);
  CHECK(rows[32].ts_ns == now + 31);
  CHECK(rows[32].tid == OwnTid());
  CHECK(rows[33].len == 3);
  CHECK(rows[34].len == 2);
  REQUIRE(recording.details.size() == 3);
  CHECK(recording.details[0] == std::make_pair(size_t{32}, std::string("ring full")));
  CHECK(recording.details[1].second == "too many threads");
  CHECK(recording.details[2].second == "unreadable");
  const RecorderTotals& totals = recording.drain.totals();
  CHECK(totals.dropped == 8);
  CHECK(totals.dropped_without_slot == 3);
  CHECK(totals.unreadable == 2);
  CHECK(totals.blocked_ns == 9);
}

TEST("records that cannot be are counted, and those around them kept") {
  Recording recording;
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  const auto write = [&](auto change) {
    Record record = CallRecord(Op::gmem_allocate, NowNs(), 1);
    change(record);
    thread.Write(record);
  };
  write([](Record&) {});
  write([](Record& record) { record.op = static_cast<Op>(kOpCount); });
  write([](Record& record) { record.op = Op::mark; });
  write([](Record& record) { record.present = 0xffff; });
  write([](Record& record) { record.ts_ns = 5; });
  write([](Record& record) { record.ts_ns = UINT64_MAX; });
  write([](Record& record) { record.dur_ns = UINT64_MAX; });
  write([](Record& record) {
    record.present |= kHasText;
    memset(record.text, 'x', sizeof record.text);
  });
  ::usleep(10);
  recording.drain.Round();
  recording.drain.Finish();
  const auto rows = recording.Take();
  CHECK(rows.size() == 3);
  REQUIRE(recording.details.size() == 2);
  CHECK(recording.details[0].second == std::string(kRecordTextBytes, 'x'));
  CHECK(recording.details[1].second == "damaged");
  CHECK(recording.drain.totals().damaged == 6);
}

TEST("a head that jumps is one loss, and the thread goes on") {
  Recording recording;
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  thread.Write(CallRecord(Op::gmem_allocate, NowNs(), 1));
  CHECK(recording.RoundAndTake().size() == 1);
  for (const uint64_t head : {uint64_t{1} << 40, UINT64_MAX, uint64_t{0}}) {
    thread.slot().head.store(head);
    recording.drain.Round();
    CHECK(thread.slot().tail.load() == head);
  }
  CHECK(recording.drain.totals().damaged == 3);
  thread.Write(CallRecord(Op::gmem_allocate, NowNs(), 2));
  ::usleep(10);
  recording.drain.Round();
  const auto rows = recording.Take();
  REQUIRE(!rows.empty());
  CHECK(rows.back().gpa == 2 || rows.front().gpa == 2);
}

TEST("an area full of nonsense ends a round like any other") {
  Recording recording({.held_rows = 100}, 4096);
  std::minstd_rand random(1);
  char* const bytes = recording.base();
  const size_t size = RingOffset(64, recording.area.ring_records());
  for (int round = 0; round < 4; ++round) {
    for (size_t i = sizeof(RecordAreaHeader) / 2; i + 4 <= size; i += 4) {
      const auto word = static_cast<uint32_t>(random());
      memcpy(bytes + i, &word, sizeof word);
    }
    // Slots that look alive, with heads that are possible.
    for (uint32_t i = 0; i < 64; ++i) {
      ThreadSlot& slot = recording.area.thread(i);
      slot.state.store(kSlotClaimed);
      if (i % 2 == 0) slot.head.store(slot.tail.load() + 20);
      if (i % 4 == 0) slot.pid.store(OwnPid());
    }
    recording.drain.Round();
    recording.Take();
  }
  recording.drain.Finish();
  CHECK(recording.drain.totals().damaged > 0);
}

TEST("counters become rows for the period in which they grew") {
  Recording recording({.counter_period_ns = 1});
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  VcpuSlot& vcpu = ClaimVcpu(recording.base(), 3, OwnPid(), OwnTid(), 7);
  vcpu.runs.store(10);
  vcpu.run_ns.store(1000);
  vcpu.count[2].store(6);
  vcpu.out_ns[2].store(60);
  vcpu.count[kExitOther].store(1);
  vcpu.count[kExitFailed].store(3);
  const auto rows = recording.RoundAndTake();
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].op == Op::kvm_run);
  CHECK(rows[0].obj == 7);
  CHECK(rows[0].vcpu == 3);
  CHECK(rows[0].result == 10);
  CHECK(rows[0].dur_ns == 1000);
  CHECK(rows[0].ts_ns == recording.base_ns);
  CHECK(rows[1].op == Op::exit_other);
  CHECK(rows[1].attrs == 2);
  CHECK(rows[1].result == 6);
  CHECK(rows[1].dur_ns == 60);
  CHECK(!Has(rows[2], kHasAttrs));
  REQUIRE(recording.details.size() == 2);
  CHECK(recording.details[0].second == "reason above 61");
  CHECK(recording.details[1].second == "KVM_RUN failed");
  CHECK(recording.RoundAndTake().empty());

  // A stay that is under way counts; what it adds when it is over does not count again.
  const uint64_t entered = NowNs();
  vcpu.entered_ns.store(entered);
  const auto under_way = recording.RoundAndTake();
  REQUIRE(under_way.size() == 1);
  CHECK(under_way[0].result == 0);
  CHECK(under_way[0].dur_ns > 0);
  vcpu.run_ns.store(1000 + under_way[0].dur_ns + 5);
  vcpu.runs.store(11);
  vcpu.entered_ns.store(0);
  const auto over = recording.RoundAndTake();
  REQUIRE(over.size() == 1);
  CHECK(over[0].dur_ns == 5);
  CHECK(over[0].result == 1);

  // The time after an exit waits for an exit to be told with, or for the end.
  vcpu.out_ns[2].store(70);
  CHECK(recording.RoundAndTake().empty());
  vcpu.count[2].store(5);
  recording.drain.Finish();
  const auto last = recording.Take();
  REQUIRE(last.size() == 2);
  CHECK(last[0].dur_ns == 10);
  CHECK(last[0].result == 0);
  CHECK(last[1].op == Op::lost);
  CHECK(recording.drain.totals().vcpus == 1);
}

TEST("marks stand among the rows by their time, and do not go back") {
  Recording recording;
  FakeThread thread(recording.base(), 0, OwnPid(), OwnTid());
  const uint64_t now = NowNs();
  thread.Write(CallRecord(Op::gmem_allocate, now, 1));
  thread.Write(CallRecord(Op::gmem_allocate, now + 2, 2));
  const std::string name(100, 'n');
  recording.drain.Mark(name, now + 1);
  recording.drain.Mark("early", 0);
  recording.drain.Mark("late", UINT64_MAX);
  const auto rows = recording.RoundAndTake();
  REQUIRE(rows.size() == 5);
  CHECK(rows[1].op == Op::mark);
  CHECK(rows[2].op == Op::mark);
  CHECK(rows[2].ts_ns == now + 1);
  CHECK(rows[4].ts_ns <= NowNs());
  REQUIRE(recording.details.size() == 3);
  CHECK(recording.details[0] == std::make_pair(size_t{1}, name));
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
