// Descriptors: what is opened, copied and closed, so that calls on them can be told apart.
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "../core/clock.h"
#include "area.h"
#include "calls.h"
#include "libc_call.h"
#include "raw_call.h"
#include "recognise.h"
#include "row.h"

namespace cvmtrace::preload {

constinit LibcFunction<int(const char*, int, mode_t)> libc_open("open");
constinit LibcFunction<int(int, const char*, int, mode_t)> libc_openat("openat");
constinit LibcFunction<int(int)> libc_close("close");
constinit LibcFunction<int(int, int, unsigned long)> libc_fcntl("fcntl");
constinit LibcFunction<ssize_t(int, msghdr*, int)> libc_recvmsg("recvmsg");
constinit LibcFunction<int(int, mmsghdr*, unsigned, int, timespec*)> libc_recvmmsg("recvmmsg");

void ResolveFdCalls() {
  libc_open.get();
  libc_openat.get();
  libc_close.get();
  libc_fcntl.get();
  libc_recvmsg.get();
  libc_recvmmsg.get();
}

namespace {

// An entry for a copy, with a reference of its own.
void CopyEntry(int from, int to) {
  const Entry entry = EntryOf(from);
  if (Object* const object = entry.object()) AddReference(*object);
  SetEntry(to, entry);
}

// Descriptors that another process sent have numbers that we may think we know.
void ForgetReceived(msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS || header->cmsg_len < CMSG_LEN(0)) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      ForgetFd(fd);
    }
  }
}

// Where the kernel got as far as the name, it can be read.
bool WasNameRead(int error) {
  return error == ENOENT || error == EACCES || error == EPERM || error == EBUSY || error == ENODEV || error == ENXIO;
}

template <typename Call>
int Open(const char* path, Call open) {
  if (!Recording()) return open();
  const uint64_t start = NowNs();
  const int fd = open();
  const uint64_t end = NowNs();
  Opened(fd, path, start, end);
  return fd;
}

// Closes a range but for the memory that is shared with the recorder, which the target does not know of.
long CloseAround(unsigned first, unsigned last, int flags) {
  const int own = AreaFd();
  const auto kept = static_cast<unsigned>(own);
  if (own < 0 || kept < first || kept > last) return RawCall(SYS_close_range, first, last, flags);
  if (kept > first) {
    const long returned = RawCall(SYS_close_range, first, kept - 1, flags);
    if (IsError(returned)) return returned;
  }
  return kept < last ? RawCall(SYS_close_range, kept + 1, last, flags) : 0;
}

}  // namespace

void Opened(int fd, const char* path, unsigned long start_ns, unsigned long end_ns) {
  const int error = fd < 0 ? errno : 0;
  if (error && !WasNameRead(error)) return;
  if (fd >= 0) ForgetFd(fd);
  const Named named = NameOfDevice(path);
  if (named.kind == Kind::kOther) return;
  uint32_t number = 0;
  if (fd >= 0) {
    if (named.kind == Kind::kKvm) {
      SetEntry(fd, Entry(Kind::kKvm, 0));
    } else {
      number = EnterObject(fd, named.kind, named.index).number();
    }
  }
  if (named.kind != Kind::kIommufd) return;
  Row row(Op::iommufd_open, start_ns, end_ns, -error);
  row.Obj(number);
  row.Write();
}

long Close(int fd) {
  if (!Recording()) return libc_close(fd);
  // A program that closes all that it does not know must not close this.
  if (IsAreaFd(fd)) [[unlikely]]
    return FinishCall(-EBADF);
  const Entry entry = TakeEntry(fd);
  if (!entry.object()) return libc_close(fd);
  const uint64_t start = NowNs();
  const long returned = libc_close(fd);
  Release(entry, start, NowNs());
  return returned;
}

long CloseRange(unsigned first, unsigned last, int flags) {
  if (!Recording()) return FinishCall(RawCall(SYS_close_range, first, last, flags));
  if (flags & CLOSE_RANGE_CLOEXEC) return FinishCall(CloseAround(first, last, flags));
  const auto highest = static_cast<unsigned>(HighestFd() + 1);
  if (first <= last) {
    for (unsigned fd = first; fd <= last && fd < highest; ++fd) {
      const Entry entry = TakeEntry(static_cast<int>(fd));
      if (!entry.object()) continue;
      const uint64_t start = NowNs();
      RawCall(SYS_close, fd);
      Release(entry, start, NowNs());
    }
  }
  return FinishCall(CloseAround(first, last, flags));
}

long Dup(int fd) {
  const long returned = RawCall(SYS_dup, fd);
  if (!IsError(returned) && Recording()) CopyEntry(fd, static_cast<int>(returned));
  return FinishCall(returned);
}

long Dup3(long number, int fd, int to, int flags) {
  const long returned = RawCall(number, fd, to, flags);
  if (!IsError(returned) && fd != to && Recording()) CopyEntry(fd, to);
  return FinishCall(returned);
}

long DupAbove(int fd, int command, long lowest) {
  const long returned = RawCall(SYS_fcntl, fd, command, lowest);
  if (!IsError(returned) && Recording()) CopyEntry(fd, static_cast<int>(returned));
  return FinishCall(returned);
}

long MemfdCreate(const char* name, unsigned flags) {
  const long returned = RawCall(SYS_memfd_create, name, flags);
  if (!IsError(returned) && Recording()) EnterObject(static_cast<int>(returned), Kind::kMemory);
  return FinishCall(returned);
}

namespace {

int OpenPath(const char* path, int flags, mode_t mode) {
  return Open(path, [&] { return libc_open(path, flags, mode); });
}

int OpenAt(int folder, const char* path, int flags, mode_t mode) {
  return Open(path, [&] { return libc_openat(folder, path, flags, mode); });
}

}  // namespace
}  // namespace cvmtrace::preload

using namespace cvmtrace::preload;

// There is only a mode if a file can be made; else it reads what is not used.
#define CVMTRACE_TAKE_ARGUMENT(last, type, name) \
  va_list arguments;                             \
  va_start(arguments, last);                     \
  const auto name = va_arg(arguments, type);     \
  va_end(arguments)

CVMTRACE_INTERPOSED int open(const char* path, int flags, ...) {
  CVMTRACE_TAKE_ARGUMENT(flags, mode_t, mode);
  return OpenPath(path, flags, mode);
}
CVMTRACE_INTERPOSED int open64(const char* path, int flags, ...) {
  CVMTRACE_TAKE_ARGUMENT(flags, mode_t, mode);
  return OpenPath(path, flags | O_LARGEFILE, mode);
}
CVMTRACE_INTERPOSED int openat(int folder, const char* path, int flags, ...) {
  CVMTRACE_TAKE_ARGUMENT(flags, mode_t, mode);
  return OpenAt(folder, path, flags, mode);
}
CVMTRACE_INTERPOSED int openat64(int folder, const char* path, int flags, ...) {
  CVMTRACE_TAKE_ARGUMENT(flags, mode_t, mode);
  return OpenAt(folder, path, flags | O_LARGEFILE, mode);
}
// What _FORTIFY_SOURCE makes of calls without a mode.
CVMTRACE_INTERPOSED int __open_2(const char* path, int flags) { return OpenPath(path, flags, 0); }
CVMTRACE_INTERPOSED int __open64_2(const char* path, int flags) { return OpenPath(path, flags | O_LARGEFILE, 0); }
CVMTRACE_INTERPOSED int __openat_2(int folder, const char* path, int flags) { return OpenAt(folder, path, flags, 0); }
CVMTRACE_INTERPOSED int __openat64_2(int folder, const char* path, int flags) {
  return OpenAt(folder, path, flags | O_LARGEFILE, 0);
}

CVMTRACE_INTERPOSED int close(int fd) { return static_cast<int>(Close(fd)); }
CVMTRACE_INTERPOSED int close_range(unsigned first, unsigned last, int flags) noexcept {
  return static_cast<int>(CloseRange(first, last, flags));
}
// Without close_range (Linux before 5.9) one after the other, as far as any is known to be open.
CVMTRACE_INTERPOSED void closefrom(int first) noexcept {
  const unsigned from = first < 0 ? 0 : static_cast<unsigned>(first);
  const int before = errno;
  if (CloseRange(from, ~0u, 0) == 0) return;
  errno = before;
  for (unsigned fd = from; fd < static_cast<unsigned>(kMaxFds); ++fd) {
    if (!IsAreaFd(static_cast<int>(fd))) RawCall(SYS_close, fd);
  }
}

CVMTRACE_INTERPOSED int dup(int fd) noexcept { return static_cast<int>(Dup(fd)); }
CVMTRACE_INTERPOSED int dup2(int fd, int to) noexcept { return static_cast<int>(Dup3(SYS_dup2, fd, to, 0)); }
CVMTRACE_INTERPOSED int dup3(int fd, int to, int flags) noexcept {
  return static_cast<int>(Dup3(SYS_dup3, fd, to, flags));
}
CVMTRACE_INTERPOSED int memfd_create(const char* name, unsigned flags) noexcept {
  return static_cast<int>(MemfdCreate(name, flags));
}

CVMTRACE_INTERPOSED int fcntl(int fd, int command, ...) {
  CVMTRACE_TAKE_ARGUMENT(command, unsigned long, argument);
  if (command != F_DUPFD && command != F_DUPFD_CLOEXEC) return libc_fcntl(fd, command, argument);
  return static_cast<int>(DupAbove(fd, command, static_cast<long>(argument)));
}
CVMTRACE_INTERPOSED int fcntl64(int fd, int command, ...) {
  CVMTRACE_TAKE_ARGUMENT(command, unsigned long, argument);
  if (command != F_DUPFD && command != F_DUPFD_CLOEXEC) return libc_fcntl(fd, command, argument);
  return static_cast<int>(DupAbove(fd, command, static_cast<long>(argument)));
}

CVMTRACE_INTERPOSED ssize_t recvmsg(int socket, msghdr* message, int flags) {
  const ssize_t received = libc_recvmsg(socket, message, flags);
  if (received >= 0 && message->msg_controllen && Recording()) ForgetReceived(*message);
  return received;
}
CVMTRACE_INTERPOSED int recvmmsg(int socket, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  const int received = libc_recvmmsg(socket, messages, count, flags, timeout);
  for (int i = 0; i < received && Recording(); ++i) {
    if (messages[i].msg_hdr.msg_controllen) ForgetReceived(messages[i].msg_hdr);
  }
  return received;
}
