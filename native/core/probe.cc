#include "probe.h"

#include <errno.h>

namespace cvmtrace {

bool ProbeLog::Note(std::string key, std::string call, int64_t returned, bool keep_value) {
  if (returned < 0) return NoteError(std::move(key), std::move(call), errno);
  return NoteError(std::move(key), std::move(call), 0, keep_value ? std::optional(returned) : std::nullopt);
}

bool ProbeLog::NoteError(std::string key, std::string call, int error, std::optional<int64_t> value) {
  attempts_.push_back({std::move(key), error, std::move(call), value});
  return error == 0;
}

std::vector<Attempt> RunProbe() {
  ProbeLog log;
  ProbeKvm(log);
  ProbeMemory(log);
  ProbeIommu(log);
  return log.Take();
}

}  // namespace cvmtrace
