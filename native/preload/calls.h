// What the interposed functions do, for those functions themselves and for syscall(): each makes the call and returns
// as libc does, with errno set if it is -1.
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define CVMTRACE_INTERPOSED extern "C" [[gnu::visibility("default")]]

namespace cvmtrace::preload {

long Ioctl(int fd, unsigned long request, unsigned long argument);
long Fallocate(int fd, int mode, off_t offset, off_t length);
long Madvise(void* start, size_t length, int advice);
long Mmap(void* start, size_t length, int protection, int flags, int fd, off_t offset);
long Munmap(void* start, size_t length);
long Close(int fd);
long CloseRange(unsigned first, unsigned last, int flags);
long Dup(int fd);
long Dup3(long number, int fd, int to, int flags);  // SYS_dup2, which has no flags, or SYS_dup3
long DupAbove(int fd, int command, long lowest);    // fcntl with F_DUPFD or F_DUPFD_CLOEXEC
long MemfdCreate(const char* name, unsigned flags);
// A file was opened, in that time: `fd`, or -1 and errno. The path can be read if it was.
void Opened(int fd, const char* path, unsigned long start_ns, unsigned long end_ns);

}  // namespace cvmtrace::preload
