// A value, or why there is none.
#pragma once

#include <errno.h>

#include <string>
#include <utility>
#include <variant>

namespace cvmtrace {

// A kernel call that failed.
struct Error {
  int code = 0;           // errno
  const char* call = "";  // as a person would look it up: "ioctl(KVM_CREATE_VM)"
  std::string detail;     // with which value; may be empty
};

// The error of the call that has just failed.
inline Error LastError(const char* call, std::string detail = {}) { return Error{errno, call, std::move(detail)}; }

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // Only after ok().
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  // Only after !ok().
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

}  // namespace cvmtrace
