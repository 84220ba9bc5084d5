// Order, times, exits, failures, pacing, cancelling and ending, on marks and host memory.
#include "executor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "ram.h"
#include "residency.h"
#include "testing/open_fds.h"
#include "testing/runner.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

constexpr double kMiB = 1 << 20;

Operation CreateMemfd(double obj, double len) {
  return {.op = Op::ram_create, .obj = obj, .len = len, .flags = ram_flag::kMemfd};
}

TEST("rows come in order, with times that do not go back") {
  Runner runner;
  const auto batch = runner.Run({{Op::mark}, CreateMemfd(1, kMiB), {Op::mark}});
  CHECK(batch->rows == 3);
  CHECK(batch->failures == 0);
  CHECK(!batch->stopped);
  CHECK(batch->tid > 0 && batch->tid != getpid());
  CHECK(batch->dur_ns[0] == 0);
  CHECK(batch->dur_ns[1] > 0);
  CHECK(batch->ts_ns[0] <= batch->ts_ns[1]);
  CHECK(batch->ts_ns[1] + batch->dur_ns[1] <= batch->ts_ns[2]);
  CHECK(!IsPresent(*batch, 0, present::result));
  CHECK(IsPresent(*batch, 1, present::result) && batch->result[1] == 0);
  CHECK(IsPresent(*batch, 1, present::hva) && batch->hva[1] != 0);
}

TEST("operations that make no sense are rows with an errno") {
  Runner runner;
  const auto batch = runner.Run({
      {.op = Op::ram_allocate, .obj = 9, .offset = 0, .len = 4096},                        // 0: no such object
      {.op = Op::ram_create, .obj = 1},                                                    // 1: no length
      {.op = Op::ram_create, .obj = 1, .len = 4097},                                       // 2: not whole pages
      {.op = Op::ram_create, .obj = 1, .len = 4096, .flags = 64},                          // 3: unknown flag
      {.op = Op::ram_create, .obj = 70000, .len = 4096},                                   // 4: number too large
      CreateMemfd(1, kMiB),                                                                // 5
      CreateMemfd(1, kMiB),                                                                // 6: exists
      {.op = Op::gmem_allocate, .obj = 1, .offset = 0, .len = 4096},                       // 7: no guest_memfd
      {.op = Op::ram_allocate, .obj = 1, .offset = kMiB, .len = 4096},                     // 8: beyond the end
      {.op = Op::ram_touch, .obj = 1, .offset = 9007199254740991.0, .len = 4096},          // 9: the sum would wrap
      {.op = Op::ram_touch, .obj = 1, .len = 4096},                                        // 10: no offset
      {.op = Op::iommu_map, .obj = 1},                                                     // 11: nobody executes it
      {.op = Op::lost, .len = 3},                                                          // 12: only in traces
      {.op = Op::kvm_set_memory_attributes, .obj = 1, .gpa = 0, .len = 4096, .attrs = 8},  // 13: no VM
      {.op = Op::ram_madvise, .obj = 1, .offset = 0, .len = 4096, .flags = 9999},  // 14: the kernel's own EINVAL
  });
  const uint16_t expected[] = {EBADF,  EINVAL, EINVAL, EINVAL, EINVAL, 0,     EEXIST, EBADF,
                               EINVAL, EINVAL, EINVAL, ENOSYS, ENOSYS, EBADF, EINVAL};
  CHECK(batch->rows == std::size(expected));
  for (size_t i = 0; i < batch->rows; ++i) {
    if (!CHECK(batch->error[i] == expected[i])) printf("# row %zu: errno %d\n", i, batch->error[i]);
    CHECK(IsPresent(*batch, i, present::result) == (expected[i] == 0));
  }
  CHECK(batch->failures == 14);
  CHECK(batch->dur_ns[0] == 0);
  CHECK(batch->dur_ns[14] > 0);
  CHECK(runner.executor().objects().count() == 1);
}

TEST("file operations do to the file what they say") {
  Runner runner;
  runner.Run({CreateMemfd(1, kMiB)});
  const auto resident = [&] {
    return runner.executor().objects().WithObject(1, [](const Object* object) { return ResidentBytes(object); });
  };
  if (const auto before = resident(); !before) SKIP("cachestat: errno " + std::to_string(before.error().code));
  auto batch = runner.Run({{.op = Op::ram_allocate, .obj = 1, .offset = 4096, .len = 8 * 4096}});
  CHECK(batch->failures == 0);
  CHECK(resident().value() == 8 * 4096);
  batch = runner.Run({{.op = Op::ram_punch_hole, .obj = 1, .offset = 4096, .len = 4096}});
  CHECK(batch->failures == 0);
  CHECK(resident().value() == 7 * 4096);
  batch = runner.Run({{.op = Op::ram_touch, .obj = 1, .offset = 0, .len = 2 * 4096, .flags = 1}});
  CHECK(batch->result[0] == 2);
  CHECK(resident().value() == 9 * 4096);
  batch = runner.Run({{.op = Op::ram_madvise, .obj = 1, .offset = 0, .len = 4096, .flags = MADV_REMOVE}});
  CHECK(batch->failures == 0);
  CHECK(resident().value() == 8 * 4096);
}

TEST("a touch counts every page that its range overlaps") {
  Runner runner;
  const auto batch = runner.Run({
      {.op = Op::ram_create, .obj = 1, .len = kMiB, .flags = 0},
      {.op = Op::ram_touch, .obj = 1, .offset = 4095, .len = 2, .flags = 1},
      {.op = Op::ram_touch, .obj = 1, .offset = 0, .len = kMiB, .flags = 0},
      {.op = Op::ram_touch, .obj = 1, .offset = 8192, .len = 1},
  });
  CHECK(batch->failures == 0);
  CHECK(batch->result[1] == 2);
  CHECK(batch->result[2] == 256);
  CHECK(batch->result[3] == 1);
  CHECK(batch->hva[1] == batch->hva[0]);
  CHECK(batch->hva[3] == batch->hva[0] + 8192);
}

TEST("an exit lasts until its last operation ends, and gives the guest's answer") {
  Runner runner;
  const auto batch = runner.Run({
      CreateMemfd(1, kMiB),
      {.op = Op::exit_map_gpa_range, .gpa = 0, .len = 4096, .peer = 2},  // 1: works
      {.op = Op::ram_allocate, .obj = 1, .offset = 0, .len = 4096},
      {.op = Op::ram_punch_hole, .obj = 1, .offset = 0, .len = 4096},
      {.op = Op::exit_memory_fault, .gpa = 0, .len = 4096, .peer = 2},  // 4: EBADF inside
      {.op = Op::ram_allocate, .obj = 9, .offset = 0, .len = 4096},
      {.op = Op::ram_allocate, .obj = 1, .offset = 0, .len = 4096},
      {.op = Op::exit_map_gpa_range, .gpa = 0, .len = 4096},         // 7: nothing inside
      {.op = Op::ram_allocate, .obj = 9, .offset = 0, .len = 4096},  // outside
  });
  CHECK(batch->rows == 9);
  CHECK(batch->failures == 2);
  const auto end = [&](size_t row) { return batch->ts_ns[row] + batch->dur_ns[row]; };
  CHECK(end(1) == end(3));
  CHECK(batch->dur_ns[1] >= batch->dur_ns[2] + batch->dur_ns[3]);
  CHECK(end(4) == end(6));
  CHECK(batch->error[1] == 0 && batch->result[1] == 0);
  CHECK(batch->error[4] == 0 && batch->result[4] == EINVAL);
  CHECK(batch->dur_ns[7] == 0 && batch->result[7] == 0 && IsPresent(*batch, 7, present::result));
}

TEST("a batch can stop at its first failure, also inside an exit") {
  Runner runner;
  auto batch = runner.Run({{Op::mark}, {Op::lost}, {Op::mark}}, {.stop_at_failure = true});
  CHECK(batch->rows == 2);
  CHECK(batch->stopped);
  batch = runner.Run({{.op = Op::exit_memory_fault, .peer = 2}, {Op::lost}, {Op::mark}}, {.stop_at_failure = true});
  CHECK(batch->rows == 2);
  CHECK(batch->result[0] == EINVAL);
  CHECK(IsPresent(*batch, 0, present::dur_ns));
  batch = runner.Run({{Op::mark}, {Op::lost}}, {.stop_at_failure = true});
  CHECK(batch->rows == 2);
  CHECK(!batch->stopped);
}

TEST("relative pacing pauses before an operation, absolute pacing counts from the first batch") {
  Runner runner;
  constexpr uint64_t kPause = 1'000'000;
  auto batch = runner.Run({{Op::mark}, {.op = Op::mark, .pace_ns = kPause}}, {.pace = Pace::kRelative});
  const uint64_t gap = batch->ts_ns[1] - batch->ts_ns[0];
  CHECK(gap >= kPause);
  CHECK(!IsPresent(*batch, 0, present::lag_ns));
  CHECK(IsPresent(*batch, 1, present::lag_ns));
  CHECK(batch->lag_ns[1] == gap - kPause);

  batch = runner.Run({{.op = Op::mark, .pace_ns = kPause}, {.op = Op::mark, .pace_ns = 3 * kPause}},
                     {.pace = Pace::kAbsolute, .pace_factor = 0.5});
  const auto start = [&](size_t row) { return batch->ts_ns[row] - batch->lag_ns[row]; };
  CHECK(start(1) - start(0) == kPause);
  const uint64_t base = start(0) - kPause / 2;
  batch = runner.Run({{.op = Op::mark, .pace_ns = 1}}, {.pace = Pace::kAbsolute});
  CHECK(start(0) == base + 1);
  CHECK(batch->lag_ns[0] > kPause);
}

TEST("cancelling wakes a pause, and drops what is queued") {
  Runner runner;
  constexpr double kAnHour = 3600e9;
  runner.Submit({{Op::mark}, {.op = Op::mark, .pace_ns = kAnHour}}, {.pace = Pace::kRelative});
  runner.Submit({{Op::mark}});
  // Only once the first batch runs is there something to cancel in it; before, it would be dropped whole.
  runner.executor().Cancel();
  auto first = runner.Next();
  auto second = runner.Next();
  CHECK(first->stopped && first->rows <= 1);
  CHECK(second->stopped && second->rows == 0);
  CHECK(runner.Run({{Op::mark}})->rows == 1);
}

TEST("an exit that was cancelled half-way has neither result nor duration") {
  Runner runner;
  runner.Submit({{.op = Op::exit_memory_fault, .peer = 2}, CreateMemfd(1, kMiB), {.op = Op::mark, .pace_ns = 3600e9}},
                {.pace = Pace::kRelative});
  while (runner.executor().objects().count() == 0) sched_yield();
  runner.executor().Cancel();
  const auto batch = runner.Next();
  REQUIRE(batch->rows == 2);
  CHECK(!IsPresent(*batch, 0, present::result));
  CHECK(!IsPresent(*batch, 0, present::dur_ns));
}

TEST("a long touch can be cancelled") {
  Runner runner;
  runner.Run({{.op = Op::ram_create, .obj = 1, .len = 1024 * kMiB, .flags = 0}});
  std::vector<Operation> operations = {CreateMemfd(2, 4096)};
  for (int i = 0; i < 100; ++i) {
    operations.push_back({.op = Op::ram_touch, .obj = 1, .offset = 0, .len = 1024 * kMiB, .flags = 0});
  }
  runner.Submit(operations);
  while (runner.executor().objects().count() == 1) sched_yield();
  runner.executor().Cancel();
  const auto batch = runner.Next();
  REQUIRE(batch->rows < operations.size());
  CHECK(batch->stopped);
  const size_t last = batch->rows - 1;
  if (batch->op[last] == Op::ram_touch && batch->error[last]) {
    CHECK(batch->error[last] == EINTR);
    CHECK(batch->result[last] % 512 == 0 && batch->result[last] < 1024 * 256);
  }
}

TEST("nothing is left open") {
  const int fds = CountOpenFds();
  {
    Runner runner;
    runner.Run({CreateMemfd(1, kMiB), CreateMemfd(2, kMiB), {.op = Op::ram_create, .obj = 3, .len = 4096}});
    CHECK(CountOpenFds() == fds + 2);
    CHECK(CountMappings("memfd:cvmtrace") == 2);
    CHECK(runner.executor().RequestStop());
    CHECK(runner.Next() == nullptr);
    runner.executor().Join();
    CHECK(runner.executor().objects().count() == 0);
    CHECK(CountOpenFds() == fds);
    CHECK(CountMappings("memfd:cvmtrace") == 0);
    CHECK(!runner.executor().RequestStop());
  }
  {
    Runner runner;
    runner.Submit({CreateMemfd(1, kMiB), {.op = Op::mark, .pace_ns = 3600e9}}, {.pace = Pace::kRelative});
  }
  CHECK(CountOpenFds() == fds);
  { const Runner never_used; }
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
