// Owner of one file descriptor.
#pragma once

#include <errno.h>
#include <unistd.h>

#include <utility>

namespace cvmtrace {

// Closes once and leaves errno alone. close(2) is not repeated on EINTR: Linux has released the number by then, and
// another thread may own it.
class ScopedFd {
 public:
  ScopedFd() = default;
  explicit ScopedFd(int fd) : fd_(fd) {}
  ~ScopedFd() { reset(); }

  ScopedFd(ScopedFd&& other) noexcept : fd_(other.release()) {}
  ScopedFd& operator=(ScopedFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ScopedFd(const ScopedFd&) = delete;
  ScopedFd& operator=(const ScopedFd&) = delete;

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  void reset(int fd = -1) {
    if (const int old = std::exchange(fd_, fd); old >= 0) {
      const int saved_errno = errno;
      ::close(old);
      errno = saved_errno;
    }
  }

 private:
  int fd_ = -1;
};

}  // namespace cvmtrace
