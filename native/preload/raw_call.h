// System calls without libc: nothing is looked up, errno is left alone, and no library of the target's is called.
#pragma once

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <concepts>

namespace cvmtrace::preload {

#if defined(__x86_64__)

inline long CallKernel(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

#else

// Elsewhere syscall() is libc's own, as it is only interposed on x86-64.
inline long CallKernel(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  const int before = errno;
  const long result = ::syscall(number, a, b, c, d, e, f);
  if (result != -1) return result;
  const long error = errno;
  errno = before;
  return -error;
}

#endif

inline long ToWord(const void* pointer) { return reinterpret_cast<long>(pointer); }
template <std::integral Value>
long ToWord(Value value) {
  return static_cast<long>(value);
}

// What the kernel returned: -errno in [-4095, -1] if the call failed.
template <typename... Arguments>
long RawCall(long number, Arguments... arguments) {
  return CallKernel(number, ToWord(arguments)...);
}

constexpr bool IsError(long returned) { return returned < 0 && returned >= -4095; }

// As libc's functions end: -1 and errno, or the value and errno as it was.
inline long FinishCall(long returned) {
  if (!IsError(returned)) return returned;
  errno = static_cast<int>(-returned);
  return -1;
}

}  // namespace cvmtrace::preload
