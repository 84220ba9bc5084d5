// Which recorded processes and threads have not ended.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <unordered_map>
#include <vector>

#include "scoped_fd.h"

namespace cvmtrace {

// Processes are watched by pidfd_open(2), as kill(2) takes one that nobody has waited for, and another that was given
// the same number, for alive; by kill(2) where no descriptor is to be had.
class RecordedProcesses {
 public:
  void Add(uint32_t pid);

  // Forgets the processes that have ended since, and returns them.
  std::vector<uint32_t> TakeEnded();

  // False for a process that was not added, or that TakeEnded() has returned.
  bool Lives(uint32_t pid) const { return processes_.contains(pid); }
  // False for one that was not added, too.
  bool ThreadLives(uint32_t pid, uint32_t tid) const;
  size_t count() const { return processes_.size(); }

 private:
  std::unordered_map<uint32_t, ScopedFd> processes_;
};

}  // namespace cvmtrace
