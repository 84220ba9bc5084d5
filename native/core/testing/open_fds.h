// Open files of this process, to show that none is left behind.
#pragma once

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include <memory>
#include <string>

namespace cvmtrace {

// Open fds whose link in /proc/self/fd contains `part`; all if it is empty.
inline int CountOpenFds(const std::string& part = {}) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
  if (!directory) return -1;
  int count = 0;
  while (const dirent* const entry = ::readdir(directory.get())) {
    char target[PATH_MAX];
    const ssize_t size = ::readlinkat(dirfd(directory.get()), entry->d_name, target, sizeof target);
    if (size > 0 && std::string(target, static_cast<size_t>(size)).find(part) != std::string::npos) ++count;
  }
  return count;
}

// Mappings in /proc/self/maps whose line contains `part`.
inline int CountMappings(const std::string& part) {
  const std::unique_ptr<FILE, int (*)(FILE*)> maps(::fopen("/proc/self/maps", "re"), ::fclose);
  if (!maps) return -1;
  int count = 0;
  char line[PATH_MAX + 256];
  while (::fgets(line, sizeof line, maps.get())) count += std::string(line).find(part) != std::string::npos;
  return count;
}

}  // namespace cvmtrace
