#include "touch.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include <algorithm>

namespace cvmtrace {
namespace {

constexpr uint64_t kPagesPerCancelCheck = (2u << 20) / kPageSize;

// The range that this thread is touching, and where to go on if the kernel says SIGBUS there.
struct Guard {
  uintptr_t begin;
  uintptr_t end;
  uintptr_t fault;
  sigjmp_buf resume;
};

// initial-exec: reading it in the signal handler must not allocate, as the first access to a dlopen()ed library's
// variable otherwise would.
[[gnu::tls_model("initial-exec")]] thread_local Guard* volatile guard = nullptr;

struct sigaction previous_action;

void OnSigbus(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  if (Guard* const here = guard; here && address >= here->begin && address < here->end) {
    here->fault = address;
    siglongjmp(here->resume, 1);
  }
  // Not ours: whoever was there before us decides.
  if (previous_action.sa_flags & SA_SIGINFO) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler == SIG_DFL || previous_action.sa_handler == SIG_IGN) {
    // The access is repeated on return, or the signal raised again, and then ends the process as it would have without
    // us.
    ::signal(signal, SIG_DFL);
    if (info->si_code <= 0) ::raise(signal);
  } else {
    previous_action.sa_handler(signal);
  }
}

void InstallHandler() {
  struct sigaction action = {};
  action.sa_sigaction = OnSigbus;
  // SA_NODEFER, so that siglongjmp need not restore a signal mask: sigsetjmp would cost a system call per touch to save
  // it.
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &previous_action);
}

void TouchChunk(char* page, uint64_t pages, bool write) {
  for (; pages > 0; --pages, page += kPageSize) {
    volatile char* const byte = page;
    if (write) {
      *byte = 1;
    } else {
      static_cast<void>(*byte);
    }
  }
}

// Apart from the function with sigsetjmp, and not inlined into it, as none of its variables may change between the two
// returns of that.
[[gnu::noinline]] Touched TouchUnguarded(char* first, uint64_t pages, bool write, const std::atomic<bool>& cancelled) {
  for (uint64_t done = 0; done < pages;) {
    if (cancelled.load(std::memory_order_relaxed)) return {done, EINTR};
    const uint64_t chunk = std::min(pages - done, kPagesPerCancelCheck);
    TouchChunk(first + done * kPageSize, chunk, write);
    done += chunk;
  }
  return {pages, 0};
}

}  // namespace

Touched TouchPages(char* first, uint64_t pages, bool write, const std::atomic<bool>& cancelled) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, InstallHandler);

  const auto begin = reinterpret_cast<uintptr_t>(first);
  Guard here;
  here.begin = begin;
  here.end = begin + pages * kPageSize;
  here.fault = 0;
  if (sigsetjmp(here.resume, 0) != 0) {
    guard = nullptr;
    return {(here.fault - begin) / kPageSize, EFAULT};
  }
  guard = &here;
  const Touched touched = TouchUnguarded(first, pages, write, cancelled);
  guard = nullptr;
  return touched;
}

void TimeTouch(OpRun& run, const ScopedMap& map) {
  const uint64_t first = run.offset() / kPageSize;
  const uint64_t pages = (run.offset() + run.len() + kPageSize - 1) / kPageSize - first;
  char* const address = map.data() + first * kPageSize;
  run.SetHva(reinterpret_cast<uint64_t>(address));
  const bool write = run.flags() & 1;
  uint64_t done = 0;
  run.Time([&] {
    const Touched touched = TouchPages(address, pages, write, run.cancelled());
    done = touched.pages;
    errno = touched.error;
    return touched.error ? -1 : 0;
  });
  run.SetResult(static_cast<int64_t>(done));
}

}  // namespace cvmtrace
