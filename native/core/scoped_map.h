// Owner of one mapping.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <utility>

namespace cvmtrace {

// Unmaps once and leaves errno alone. False after a failed mmap(2), whose errno is then the caller's to read.
class ScopedMap {
 public:
  ScopedMap() = default;
  // Takes what mmap(2) returned, MAP_FAILED included.
  ScopedMap(void* address, size_t size)
      : address_(address == MAP_FAILED ? nullptr : address), size_(address_ ? size : 0) {}
  ~ScopedMap() { reset(); }

  ScopedMap(ScopedMap&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  ScopedMap& operator=(ScopedMap&& other) noexcept {
    if (this != &other) {
      reset();
      address_ = std::exchange(other.address_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ScopedMap(const ScopedMap&) = delete;
  ScopedMap& operator=(const ScopedMap&) = delete;

  char* data() const { return static_cast<char*>(address_); }
  size_t size() const { return size_; }
  uint64_t address() const { return reinterpret_cast<uint64_t>(address_); }
  explicit operator bool() const { return address_ != nullptr; }

  void reset() {
    if (void* const old = std::exchange(address_, nullptr)) {
      const int saved_errno = errno;
      ::munmap(old, std::exchange(size_, 0));
      errno = saved_errno;
    }
  }

 private:
  void* address_ = nullptr;
  size_t size_ = 0;
};

}  // namespace cvmtrace
