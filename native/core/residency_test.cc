// Which pages of a file are in memory.
#include "residency.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "ram.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

TEST("pages are found wherever they are") {
  constexpr uint64_t kPages = 1001;
  auto ram = CreateRam(kPages * kPageSize, ram_flag::kMemfd);
  REQUIRE(ram);
  const Object& object = *ram.value();
  if (const auto empty = ResidentPages(&object); !empty) SKIP("cachestat: errno " + std::to_string(empty.error().code));
  std::vector<uint8_t> expected((kPages + 7) / 8);
  const auto allocate = [&](uint64_t first, uint64_t count) {
    CHECK(::fallocate(object.fd.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first * kPageSize),
                      static_cast<off_t>(count * kPageSize)) == 0);
    for (uint64_t i = first; i < first + count; ++i)
      expected[i / 8] = static_cast<uint8_t>(expected[i / 8] | 1u << i % 8);
  };
  CHECK(ResidentPages(&object).value() == expected);
  for (const auto& [first, count] : {std::pair<uint64_t, uint64_t>{0, 1}, {7, 2}, {100, 57}, {500, 1}, {1000, 1}}) {
    allocate(first, count);
    CHECK(ResidentPages(&object).value() == expected);
  }
  CHECK(ResidentBytes(&object).value() == 62 * kPageSize);
  allocate(0, kPages);
  CHECK(ResidentPages(&object).value() == expected);
}

TEST("objects without a file are refused") {
  auto anonymous = CreateRam(kPageSize, 0);
  REQUIRE(anonymous);
  const auto pages = ResidentPages(anonymous.value().get());
  REQUIRE(!pages);
  CHECK(pages.error().code == EBADF);
  const auto bytes = ResidentBytes(nullptr);
  REQUIRE(!bytes);
  CHECK(bytes.error().code == EBADF);
}

TEST("huge pages: refused by name, or not to be had") {
  auto huge = CreateRam(2u << 20, ram_flag::kMemfd | ram_flag::kHugetlb2m);
  if (!huge) SKIP(std::string(huge.error().call) + ": errno " + std::to_string(huge.error().code));
  const auto bytes = ResidentBytes(huge.value().get());
  REQUIRE(!bytes);
  CHECK(bytes.error().code == EOPNOTSUPP);
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
