// A VM with guest_memfd as a VMM sets it up. Skipped where the host has none.
#include <errno.h>

#include "kvm_abi.h"
#include "probe.h"
#include "ram.h"
#include "residency.h"
#include "testing/open_fds.h"
#include "testing/runner.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kSize = 4 * kMiB;
constexpr double kVm = 1;
constexpr double kShared = 2;
constexpr double kPrivate = 3;

const std::vector<Attempt>& Probed() {
  static const std::vector<Attempt> attempts = RunProbe();
  return attempts;
}

// Empty if the host can do it.
std::string WhyNot(const std::string& key) {
  for (const Attempt& attempt : Probed()) {
    if (attempt.key != key) continue;
    return attempt.error == 0 ? "" : attempt.call + ": errno " + std::to_string(attempt.error);
  }
  return "kvm.open or kvm.vm.0 failed";
}

std::vector<Operation> SetUp(double gmem_flags) {
  return {
      {.op = Op::kvm_create_vm, .obj = kVm, .attrs = 0},
      {.op = Op::kvm_create_guest_memfd, .obj = kPrivate, .len = kSize, .flags = gmem_flags, .peer = kVm},
      {.op = Op::ram_create, .obj = kShared, .len = kSize, .flags = ram_flag::kMemfd},
      {.op = Op::kvm_set_user_memory_region2,
       .obj = kVm,
       .gpa = 0,
       .offset = 0,
       .len = kSize,
       .attrs = kPrivate * 4294967296.0,
       .flags = KVM_MEM_GUEST_MEMFD,
       .peer = kShared},
  };
}

TEST("the probe leaves nothing open") {
  const int before = CountOpenFds();
  const auto attempts = RunProbe();
  CHECK(CountOpenFds() == before);
  CHECK(CountMappings("kvm-gmem") == 0);
  CHECK(CountMappings("memfd:") == 0);
  CHECK(!attempts.empty() && attempts[0].key == "kvm.open");
  for (const Attempt& attempt : attempts) CHECK(!attempt.call.empty());
}

TEST("a slot with guest_memfd is set up, allocated, punched, and closed") {
  if (const std::string reason = WhyNot("gmem.slot"); !reason.empty()) SKIP(reason);
  const int before = CountOpenFds();
  {
    Runner runner;
    auto batch = runner.Run(SetUp(0));
    REQUIRE(batch->failures == 0);
    CHECK(batch->hva[3] == batch->hva[2]);
    CHECK(CountOpenFds("kvm-vm") == 1);
    CHECK(CountOpenFds("kvm-gmem") == 1);
    CHECK(CountOpenFds("/dev/kvm") == 0);
    batch = runner.Run({
        {.op = Op::gmem_allocate, .obj = kPrivate, .offset = 0, .len = kMiB},
        {.op = Op::gmem_punch_hole, .obj = kPrivate, .offset = 8192, .len = 4096},
        {.op = Op::gmem_allocate, .obj = kPrivate, .offset = 1, .len = 4096},
        {.op = Op::gmem_touch, .obj = kPrivate, .offset = 0, .len = 4096},
    });
    CHECK(batch->error[0] == 0 && batch->error[1] == 0);
    CHECK(batch->error[2] == EINVAL);
    CHECK(batch->error[3] == ENODEV);
    const auto pages = runner.executor().objects().WithObject(3, [](const Object* o) { return ResidentPages(o); });
    if (pages) {
      CHECK(pages.value().size() == 128);
      CHECK(pages.value()[0] == 0xfb && pages.value()[31] == 0xff && pages.value()[32] == 0);
    }
  }
  CHECK(CountOpenFds() == before);
}

TEST("a mapped guest_memfd can be touched if it is shared, and is EFAULT if it is private") {
  if (const std::string reason = WhyNot("gmem.touch"); !reason.empty()) SKIP(reason);
  for (const bool shared : {true, false}) {
    Runner runner;
    auto set_up = SetUp(shared ? 3 : 1);
    REQUIRE(runner.Run(set_up)->failures == 0);
    const auto batch = runner.Run({{.op = Op::gmem_touch, .obj = kPrivate, .offset = 4096, .len = 8192, .flags = 1}});
    CHECK(batch->error[0] == (shared ? 0 : EFAULT));
    CHECK(batch->result[0] == (shared ? 2 : 0));
  }
}

TEST("slots refuse objects that are not there") {
  if (const std::string reason = WhyNot("gmem.slot"); !reason.empty()) SKIP(reason);
  Runner runner;
  auto set_up = SetUp(0);
  set_up.pop_back();
  REQUIRE(runner.Run(set_up)->failures == 0);
  const auto slot = [](double len, double gmem, double ram) {
    return Operation{.op = Op::kvm_set_user_memory_region2,
                     .obj = kVm,
                     .gpa = 0,
                     .offset = 0,
                     .len = len,
                     .attrs = gmem * 4294967296.0,
                     .flags = KVM_MEM_GUEST_MEMFD,
                     .peer = ram};
  };
  const auto batch = runner.Run({slot(kSize, 9, kShared),
                                 slot(kSize, kPrivate, 9),
                                 slot(kSize, kShared, kShared),
                                 slot(2 * kSize, kPrivate, kShared),
                                 {.op = Op::kvm_set_user_memory_region,
                                  .obj = kVm,
                                  .gpa = 0,
                                  .offset = 0,
                                  .len = kSize,
                                  .attrs = 1,
                                  .flags = 0,
                                  .peer = kShared}});
  CHECK(batch->error[0] == EBADF && batch->error[1] == EBADF && batch->error[2] == EBADF);
  CHECK(batch->error[3] == EINVAL);
  CHECK(batch->error[4] == 0);
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
