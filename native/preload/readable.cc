#include "readable.h"

#include <stdint.h>
#include <string.h>

#include "raw_call.h"

namespace cvmtrace::preload {
namespace {

constexpr uintptr_t kPageMask = ~uintptr_t{4095};
constexpr size_t kProbe = 8;

// The kernel reads the new signal mask before it looks at what to do with it, and what we ask for does not exist. Any
// filter of system calls allows this one.
bool IsReadable(uintptr_t address) {
  constexpr long kNoSuchChange = -1;
  return RawCall(SYS_rt_sigprocmask, kNoSuchChange, address, 0, kProbe) != -EFAULT;
}

}  // namespace

bool CopyIfReadable(void* to, const void* from, size_t bytes) {
  const auto first = reinterpret_cast<uintptr_t>(from);
  const uintptr_t last = first + bytes - kProbe;
  if (last < first) return false;
  const uintptr_t own_page = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) & kPageMask;
  const bool on_own_page = (first & kPageMask) == own_page && ((last + kProbe - 1) & kPageMask) == own_page;
  if (!on_own_page && (!IsReadable(first) || !IsReadable(last))) return false;
  memcpy(to, from, bytes);
  return true;
}

}  // namespace cvmtrace::preload
