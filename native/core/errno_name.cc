#include "errno_name.h"

#include <stdio.h>
#include <string.h>

namespace cvmtrace {
namespace {

const char* LibraryName(int number) {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
  return ::strerrorname_np(number);
#else
  static_cast<void>(number);
  return nullptr;
#endif
}

}  // namespace

const char* ErrnoName(int number) {
  if (const char* const name = number > 0 ? LibraryName(number) : nullptr) return name;
  static thread_local char text[32];
  snprintf(text, sizeof text, "errno %d", number);
  return text;
}

}  // namespace cvmtrace
