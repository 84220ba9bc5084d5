// Functions of libc behind the interposed ones. The raw system call would do for most; libc's own is called where it is
// a cancellation point (open, close, fallocate, recvmsg, fcntl with a lock): a thread must still be cancelled there.
// ioctl, madvise, mmap, munmap, dup, memfd_create and close_range are none, and are called raw.
#pragma once

#include <dlfcn.h>
#include <errno.h>

#include <atomic>

namespace cvmtrace::preload {

template <typename Function>
class LibcFunction {
 public:
  constexpr explicit LibcFunction(const char* name) : name_(name) {}

  // nullptr if this libc does not have it. Keeps errno. Not async-signal-safe the first time, so that the constructor
  // of the library asks for all of them.
  Function* get() {
    Function* function = function_.load(std::memory_order_relaxed);
    if (function) [[likely]]
      return function;
    const int before = errno;
    function = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name_));
    errno = before;
    function_.store(function, std::memory_order_relaxed);
    return function;
  }

  template <typename... Arguments>
  auto operator()(Arguments... arguments) -> decltype(static_cast<Function*>(nullptr)(arguments...)) {
    if (Function* const function = get()) [[likely]]
      return function(arguments...);
    errno = ENOSYS;
    return -1;
  }

 private:
  const char* const name_;
  std::atomic<Function*> function_ = nullptr;
};

}  // namespace cvmtrace::preload
