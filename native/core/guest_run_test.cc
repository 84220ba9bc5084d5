// Guests that run, beside other work of the executor; what they do is tested from JavaScript.
#include "guest_run.h"

#include <condition_variable>
#include <thread>

#include "executor.h"
#include "kvm_abi.h"
#include "testing/runner.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

constexpr double kMiB = 1 << 20;
constexpr uint64_t kProgramGpa = 1ull << 30;
constexpr int kRuns = 4;

// Objects 1 VM, 2 memory, 3 of the program, 10 and 11 vCPUs.
const std::vector<Operation> kSetUp = {
    {.op = Op::kvm_create_vm, .obj = 1, .attrs = 0},
    {.op = Op::ram_create, .obj = 2, .len = 4 * kMiB, .flags = 0},
    {.op = Op::ram_create, .obj = 3, .len = kMiB, .flags = 0},
    {.op = Op::kvm_set_user_memory_region, .obj = 1, .gpa = 0, .offset = 0, .len = 4 * kMiB, .attrs = 0, .peer = 2},
    {.op = Op::kvm_set_user_memory_region,
     .obj = 1,
     .gpa = static_cast<double>(kProgramGpa),
     .offset = 0,
     .len = kMiB,
     .attrs = 1,
     .peer = 3},
    {.op = Op::kvm_create_vcpu, .obj = 10, .peer = 1, .vcpu = 0},
    {.op = Op::kvm_create_vcpu, .obj = 11, .peer = 1, .vcpu = 1},
};

// An executor that runs guests, and waits for them.
class GuestRunner {
 public:
  GuestRunner()
      : executor_([this](std::unique_ptr<Batch> batch) { Collect(std::move(batch), nullptr); },
                  [this](std::unique_ptr<GuestRun> guest) { Collect(nullptr, std::move(guest)); }) {}

  Executor& executor() { return executor_; }

  std::unique_ptr<Batch> Run(const std::vector<Operation>& operations) {
    auto batch = Decode(operations, {});
    if (executor_.Submit(batch) != 0) abort();
    Wait();
    return std::move(batch_);
  }

  void Submit(const std::vector<std::vector<Operation>>& batches, const BatchOptions& options = {}) {
    auto run = std::make_unique<GuestRun>();
    run->vm = 1;
    run->memory_obj = 3;
    run->memory_gpa = kProgramGpa;
    for (uint32_t i = 0; i < batches.size(); ++i) run->vcpus.push_back({10 + i, Decode(batches[i], options)});
    if (executor_.Submit(run) != 0) abort();
  }

  std::unique_ptr<GuestRun> Wait() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return done_; });
    done_ = false;
    return std::move(guest_);
  }

 private:
  static std::unique_ptr<Batch> Decode(const std::vector<Operation>& operations, const BatchOptions& options) {
    const std::vector<double> words = WordsOf(operations);
    auto decoded = Batch::Decode(words.data(), words.size(), options);
    auto* const batch = std::get_if<0>(&decoded);
    if (!batch) abort();
    return std::move(*batch);
  }

  void Collect(std::unique_ptr<Batch> batch, std::unique_ptr<GuestRun> guest) {
    const std::lock_guard lock(mutex_);
    batch_ = std::move(batch);
    guest_ = std::move(guest);
    done_ = true;
    arrived_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  bool done_ = false;
  std::unique_ptr<Batch> batch_;
  std::unique_ptr<GuestRun> guest_;
  Executor executor_;
};

bool SetUp(GuestRunner& runner) {
  const auto batch = runner.Run(kSetUp);
  if (batch->failures == 0) return true;
  tap::skip_reason = "no guest can be made here";
  return false;
}

Operation Touch(double page) { return {.op = Op::guest_touch, .gpa = page * 4096, .len = 4096, .flags = 1, .vcpu = 0}; }

TEST("vCPUs perform their batches at the same time") {
  GuestRunner runner;
  if (!SetUp(runner)) return;
  for (int i = 0; i < kRuns; ++i) {
    runner.Submit({{Touch(0), {.op = Op::mark}, Touch(1)}, std::vector<Operation>(2500, Touch(2))});
    const auto run = runner.Wait();
    REQUIRE(!run->failure);
    CHECK(run->vcpus[0].batch->rows == 3 && run->vcpus[1].batch->rows == 2500);
    CHECK(run->vcpus[0].batch->result[2] == 1);
    CHECK(run->vcpus[0].batch->tid != run->vcpus[1].batch->tid);
  }
}

TEST("a cancel that comes at any time ends a run, and no later one") {
  GuestRunner runner;
  if (!SetUp(runner)) return;
  const BatchOptions paced = {.pace = Pace::kRelative};
  const Operation hour = {.op = Op::mark, .pace_ns = 3600e9};
  for (int i = 0; i < 40; ++i) {
    runner.Submit({{Touch(0), hour}, {hour}}, paced);
    std::this_thread::sleep_for(std::chrono::microseconds(i * 50));
    runner.executor().Cancel();
    const auto stopped = runner.Wait();
    REQUIRE(!stopped->failure);
    CHECK(stopped->vcpus[0].batch->stopped && stopped->vcpus[0].batch->rows <= 1);
    runner.Submit({{Touch(0)}, {Touch(1)}}, paced);
    const auto whole = runner.Wait();
    REQUIRE(!whole->failure);
    CHECK(!whole->vcpus[0].batch->stopped && whole->vcpus[1].batch->rows == 1);
  }
}

TEST("an executor that is destroyed while its guest runs ends it") {
  GuestRunner runner;
  if (!SetUp(runner)) return;
  runner.Submit({{{.op = Op::mark, .pace_ns = 3600e9}}}, {.pace = Pace::kRelative});
}

TEST("what goes wrong says on which vCPU, and where") {
  GuestRunner runner;
  if (!SetUp(runner)) return;
  runner.Submit({{{.op = Op::mark}}, {Touch(0), Touch(5000)}});
  const auto run = runner.Wait();
  REQUIRE(run->failure);
  CHECK(run->failed_vcpu == 11);
  CHECK(run->failure->detail.starts_with("operation 1 (guest_touch): wrote to gpa 0x1388000, where no memory slot is"));
  CHECK(run->vcpus[1].batch->rows == 1);
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
