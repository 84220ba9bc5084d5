// ScopedFd, ScopedMap, Result.
#include <fcntl.h>
#include <sys/mman.h>

#include <memory>
#include <type_traits>

#include "result.h"
#include "scoped_fd.h"
#include "scoped_map.h"
#include "testing/open_fds.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

static_assert(!std::is_copy_constructible_v<ScopedFd> && !std::is_copy_assignable_v<ScopedFd>);
static_assert(!std::is_copy_constructible_v<ScopedMap> && !std::is_copy_assignable_v<ScopedMap>);
static_assert(!std::is_convertible_v<ScopedFd, bool> && !std::is_convertible_v<int, ScopedFd>);

int OpenNull() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST("ScopedFd closes at the end of its life and keeps errno") {
  const int raw = OpenNull();
  {
    const ScopedFd fd(raw);
    CHECK(fd);
    CHECK(fd.get() == raw);
    errno = ENOTTY;
  }
  CHECK(errno == ENOTTY);
  CHECK(!IsOpen(raw));
}

TEST("a failed close leaves errno alone too") {
  const int raw = OpenNull();
  ScopedFd fd(raw);
  ::close(raw);
  errno = EAGAIN;
  fd.reset();
  CHECK(errno == EAGAIN);
}

TEST("moving a ScopedFd moves the fd, also to itself") {
  ScopedFd first(OpenNull());
  const int raw = first.get();
  ScopedFd second(std::move(first));
  CHECK(!first);
  CHECK(second.get() == raw);
  ScopedFd third(OpenNull());
  const int replaced = third.get();
  third = std::move(second);
  CHECK(third.get() == raw);
  CHECK(!IsOpen(replaced));
  ScopedFd& same = third;
  third = std::move(same);
  CHECK(IsOpen(raw));
}

TEST("release gives the fd away") {
  ScopedFd fd(OpenNull());
  const int raw = fd.release();
  CHECK(!fd);
  CHECK(IsOpen(raw));
  ::close(raw);
}

void* MapPage() { return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
bool IsMapped(void* page) {
  unsigned char resident;
  return ::mincore(page, 4096, &resident) == 0;
}

TEST("ScopedMap unmaps at the end of its life and keeps errno") {
  void* const page = MapPage();
  {
    const ScopedMap map(page, 4096);
    CHECK(map);
    CHECK(map.size() == 4096);
    CHECK(IsMapped(page));
    errno = ENOTTY;
  }
  CHECK(errno == ENOTTY);
  CHECK(!IsMapped(page));
}

TEST("ScopedMap of a failed mmap is empty") {
  const ScopedMap map(MAP_FAILED, 4096);
  CHECK(!map);
  CHECK(map.size() == 0);
}

TEST("moving a ScopedMap moves the mapping, also to itself") {
  void* const page = MapPage();
  void* const replaced = MapPage();
  ScopedMap first(page, 4096);
  ScopedMap second(replaced, 4096);
  second = std::move(first);
  CHECK(!first);
  CHECK(second.data() == page);
  CHECK(!IsMapped(replaced));
  ScopedMap& same = second;
  second = std::move(same);
  CHECK(IsMapped(page));
}

TEST("Result holds a value or an error") {
  Result<std::unique_ptr<int>> good(std::make_unique<int>(7));
  REQUIRE(good.ok());
  const std::unique_ptr<int> taken = std::move(good).value();
  CHECK(*taken == 7);
  errno = ENOMEM;
  const Result<std::unique_ptr<int>> bad(LastError("mmap", "4096"));
  REQUIRE(!bad);
  CHECK(bad.error().code == ENOMEM);
  CHECK(std::string(bad.error().call) == "mmap");
  CHECK(bad.error().detail == "4096");
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
