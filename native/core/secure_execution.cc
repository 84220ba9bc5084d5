#include "secure_execution.h"

#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace cvmtrace {

const char* SecureExecution(const std::string& path) {
  struct stat file;
  struct statvfs mount;
  if (::stat(path.c_str(), &file) != 0) return "";
  // Either takes all of them away.
  if (::statvfs(path.c_str(), &mount) == 0 && (mount.f_flag & ST_NOSUID)) return "";
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return "";
  if ((file.st_mode & S_ISUID) && file.st_uid != ::getuid()) return "setuid";
  // Without the group's x bit it means mandatory locking.
  constexpr mode_t kSetGroup = S_ISGID | S_IXGRP;
  if ((file.st_mode & kSetGroup) == kSetGroup && file.st_gid != ::getgid()) return "setgid";
  if (::getuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0) return "capabilities";
  return "";
}

}  // namespace cvmtrace
