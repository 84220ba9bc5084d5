// Tests that speak TAP (testanything.org): one line per TEST, failed CHECKs as diagnostics before it.
#pragma once

#include <stdio.h>

#include <string>
#include <vector>

namespace cvmtrace::tap {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test> tests;
inline bool failed = false;
inline std::string skip_reason;

inline bool Add(const char* name, void (*body)()) {
  tests.push_back({name, body});
  return true;
}

inline bool Check(bool ok, const char* what, const char* file, int line) {
  if (!ok) {
    printf("# %s:%d: not true: %s\n", file, line, what);
    failed = true;
  }
  return ok;
}

inline int RunAll() {
  printf("1..%zu\n", tests.size());
  int failures = 0;
  for (size_t i = 0; i < tests.size(); ++i) {
    failed = false;
    skip_reason.clear();
    fflush(stdout);
    tests[i].body();
    failures += failed;
    printf("%sok %zu - %s%s%s\n", failed ? "not " : "", i + 1, tests[i].name, skip_reason.empty() ? "" : " # SKIP ",
           skip_reason.c_str());
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace cvmtrace::tap

#define TAP_JOIN_(a, b) a##b
#define TAP_JOIN(a, b) TAP_JOIN_(a, b)

// TEST("sentence") { ... }
#define TEST(name)                                                                                            \
  static void TAP_JOIN(TapBody, __LINE__)();                                                                  \
  static const bool TAP_JOIN(tap_added_, __LINE__) = ::cvmtrace::tap::Add(name, TAP_JOIN(TapBody, __LINE__)); \
  static void TAP_JOIN(TapBody, __LINE__)()

// Notes a failure and goes on; its value is the condition's.
#define CHECK(...) ::cvmtrace::tap::Check(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)

#define REQUIRE(...) \
  if (!CHECK(__VA_ARGS__)) return

#define SKIP(reason)                         \
  do {                                       \
    ::cvmtrace::tap::skip_reason = (reason); \
    return;                                  \
  } while (false)

#define TAP_MAIN() \
  int main() { return ::cvmtrace::tap::RunAll(); }
