// SIGBUS while touching, and everywhere else.
#include "touch.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scoped_fd.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

const std::atomic<bool> not_cancelled{false};

// A mapping of 8 pages of which the file has only 3.
ScopedMap ShortFile() {
  const ScopedFd fd(::memfd_create("touch_test", MFD_CLOEXEC));
  if (::ftruncate(fd.get(), 3 * kPageSize) != 0) abort();
  return ScopedMap(::mmap(nullptr, 8 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), 8 * kPageSize);
}

// How a child process ends that does this.
template <typename Body>
int StatusOf(Body body) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST("SIGBUS ends a touch with EFAULT, after the pages that were there") {
  const ScopedMap map = ShortFile();
  for (const bool write : {false, true}) {
    const Touched touched = TouchPages(map.data(), 8, write, not_cancelled);
    CHECK(touched.pages == 3);
    CHECK(touched.error == EFAULT);
  }
  const Touched again = TouchPages(map.data() + 3 * kPageSize, 5, true, not_cancelled);
  CHECK(again.pages == 0 && again.error == EFAULT);
  const Touched there = TouchPages(map.data(), 3, true, not_cancelled);
  CHECK(there.pages == 3 && there.error == 0);
}

TEST("a cancelled touch ends with EINTR at 2 MiB steps") {
  const std::atomic<bool> cancelled{true};
  const ScopedMap map = ShortFile();
  const Touched touched = TouchPages(map.data(), 3, true, cancelled);
  CHECK(touched.pages == 0 && touched.error == EINTR);
}

TEST("SIGBUS elsewhere ends the process as it would have") {
  const ScopedMap map = ShortFile();
  const int status = StatusOf([&] {
    signal(SIGBUS, SIG_DFL);
    static_cast<void>(TouchPages(map.data(), 8, false, not_cancelled));
    *static_cast<volatile char*>(map.data() + 5 * kPageSize) = 1;
  });
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

}  // namespace

// In a process of their own, as the handler that was there first is looked up once per process.
int FreshProcess(const char* name) {
  const ScopedMap map = ShortFile();
  if (std::string(name) == "handler") {
    signal(SIGBUS, [](int) { _exit(42); });
  } else if (std::string(name) == "siginfo") {
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void*) { _exit(info->si_addr ? 43 : 1); };
    sigaction(SIGBUS, &action, nullptr);
  } else {
    signal(SIGBUS, SIG_DFL);
  }
  if (TouchPages(map.data(), 8, false, not_cancelled).error != EFAULT) return 1;
  if (std::string(name) == "raised") {
    raise(SIGBUS);
  } else {
    *static_cast<volatile char*>(map.data() + 5 * kPageSize) = 1;
  }
  return 2;
}

namespace {

int StatusOfFresh(const char* name) {
  return StatusOf([&] { ::execl("/proc/self/exe", "touch_test", name, static_cast<char*>(nullptr)); });
}

TEST("a handler that was there before gets the signals that are not ours") {
  const int handler = StatusOfFresh("handler");
  CHECK(WIFEXITED(handler) && WEXITSTATUS(handler) == 42);
  const int siginfo = StatusOfFresh("siginfo");
  CHECK(WIFEXITED(siginfo) && WEXITSTATUS(siginfo) == 43);
}

TEST("without one, SIGBUS of an access or of kill(2) ends the process") {
  const int access = StatusOfFresh("access");
  CHECK(WIFSIGNALED(access) && WTERMSIG(access) == SIGBUS);
  const int raised = StatusOfFresh("raised");
  CHECK(WIFSIGNALED(raised) && WTERMSIG(raised) == SIGBUS);
}

}  // namespace
}  // namespace cvmtrace

int main(int argc, char** argv) { return argc > 1 ? cvmtrace::FreshProcess(argv[1]) : cvmtrace::tap::RunAll(); }
