#include "recorder_processes.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cvmtrace {

void RecordedProcesses::Add(uint32_t pid) {
  if (processes_.contains(pid)) return;
  // One that has ended already has none, and kill(2) says so the next time.
  processes_.emplace(pid, ScopedFd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))));
}

std::vector<uint32_t> RecordedProcesses::TakeEnded() {
  std::vector<pollfd> polled;
  std::vector<uint32_t> pids;
  std::vector<uint32_t> ended;
  for (const auto& [pid, fd] : processes_) {
    if (fd) {
      polled.push_back({fd.get(), POLLIN, 0});
      pids.push_back(pid);
    } else if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) {
      ended.push_back(pid);
    }
  }
  if (!polled.empty() && ::poll(polled.data(), static_cast<nfds_t>(polled.size()), 0) > 0) {
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].revents != 0) ended.push_back(pids[i]);
    }
  }
  for (const uint32_t pid : ended) processes_.erase(pid);
  return ended;
}

bool RecordedProcesses::ThreadLives(uint32_t pid, uint32_t tid) const {
  if (!Lives(pid)) return false;
  return ::syscall(SYS_tgkill, static_cast<pid_t>(pid), static_cast<pid_t>(tid), 0) == 0 || errno != ESRCH;
}

}  // namespace cvmtrace
