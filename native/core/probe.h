// What this host can do, found by doing it. Nothing stays changed and nothing stays open.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

namespace cvmtrace {

// As of `Attempt` in native/native.ts, where the keys are listed.
struct Attempt {
  std::string key;
  int error = 0;
  std::string call;
  std::optional<int64_t> value;
};

class ProbeLog {
 public:
  // Notes what a call returned, with errno if that is below 0. True if it worked.
  bool Note(std::string key, std::string call, int64_t returned, bool keep_value = false);
  // The same with the errno in hand, 0 if it worked.
  bool NoteError(std::string key, std::string call, int error, std::optional<int64_t> value = {});

  std::vector<Attempt> Take() { return std::move(attempts_); }

 private:
  std::vector<Attempt> attempts_;
};

void ProbeKvm(ProbeLog& log);
void ProbeMemory(ProbeLog& log);
void ProbeIommu(ProbeLog& log);

std::vector<Attempt> RunProbe();

}  // namespace cvmtrace
