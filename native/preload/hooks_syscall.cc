// syscall(): programs whose libc has no function for a call use it. Only on x86-64; elsewhere such calls are not seen.
#include <fcntl.h>

#include "../core/clock.h"
#include "area.h"
#include "calls.h"
#include "raw_call.h"

#if defined(__x86_64__)

namespace {

using namespace cvmtrace::preload;

long OpenAt(int folder, const char* path, int flags, mode_t mode) {
  const uint64_t start = cvmtrace::NowNs();
  const long returned = FinishCall(RawCall(SYS_openat, folder, path, flags, mode));
  if (Recording()) Opened(static_cast<int>(returned), path, start, cvmtrace::NowNs());
  return returned;
}

}  // namespace

// By the number, those that have a hook.
extern "C" [[gnu::visibility("hidden"), gnu::used]] long cvmtrace_recorded_syscall(long number, long a, long b, long c,
                                                                                   long d, long e, long f) {
  const auto pointer = [](long word) { return reinterpret_cast<void*>(word); };
  const int fd = static_cast<int>(a);
  switch (number) {
    case SYS_ioctl:
      return Ioctl(fd, static_cast<unsigned long>(b), static_cast<unsigned long>(c));
    case SYS_fallocate:
      return Fallocate(fd, static_cast<int>(b), c, d);
    case SYS_madvise:
      return Madvise(pointer(a), static_cast<size_t>(b), static_cast<int>(c));
    case SYS_mmap:
      return Mmap(pointer(a), static_cast<size_t>(b), static_cast<int>(c), static_cast<int>(d), static_cast<int>(e), f);
    case SYS_munmap:
      return Munmap(pointer(a), static_cast<size_t>(b));
    case SYS_close:
      return Close(fd);
    case SYS_close_range:
      return CloseRange(static_cast<unsigned>(a), static_cast<unsigned>(b), static_cast<int>(c));
    case SYS_dup:
      return Dup(fd);
    case SYS_dup2:
      return Dup3(SYS_dup2, fd, static_cast<int>(b), 0);
    case SYS_dup3:
      return Dup3(SYS_dup3, fd, static_cast<int>(b), static_cast<int>(c));
    case SYS_memfd_create:
      return MemfdCreate(static_cast<const char*>(pointer(a)), static_cast<unsigned>(b));
    case SYS_openat:
      return OpenAt(fd, static_cast<const char*>(pointer(b)), static_cast<int>(c), static_cast<mode_t>(d));
    case SYS_fcntl:
      if (b == F_DUPFD || b == F_DUPFD_CLOEXEC) return DupAbove(fd, static_cast<int>(b), c);
      return FinishCall(RawCall(number, a, b, c));
    default:
      return FinishCall(RawCall(number, a, b, c, d, e, f));
  }
}

extern "C" [[gnu::visibility("hidden"), gnu::used]] long cvmtrace_failed_syscall(long returned) {
  return cvmtrace::preload::FinishCall(returned);
}

// A bit for each number below 512 that is looked at.
#define CVMTRACE_BIT(word, number) ((number) / 64 == (word) ? 1ul << ((number) % 64) : 0ul)
#define CVMTRACE_WORD(word)                                                                               \
  (CVMTRACE_BIT(word, SYS_ioctl) | CVMTRACE_BIT(word, SYS_fallocate) | CVMTRACE_BIT(word, SYS_madvise) |  \
   CVMTRACE_BIT(word, SYS_mmap) | CVMTRACE_BIT(word, SYS_munmap) | CVMTRACE_BIT(word, SYS_close) |        \
   CVMTRACE_BIT(word, SYS_close_range) | CVMTRACE_BIT(word, SYS_dup) | CVMTRACE_BIT(word, SYS_dup2) |     \
   CVMTRACE_BIT(word, SYS_dup3) | CVMTRACE_BIT(word, SYS_memfd_create) | CVMTRACE_BIT(word, SYS_openat) | \
   CVMTRACE_BIT(word, SYS_fcntl))
extern "C" [[gnu::visibility("hidden"), gnu::used]] const unsigned long cvmtrace_recorded_numbers[8] = {
    CVMTRACE_WORD(0), CVMTRACE_WORD(1), CVMTRACE_WORD(2), CVMTRACE_WORD(3),
    CVMTRACE_WORD(4), CVMTRACE_WORD(5), CVMTRACE_WORD(6), CVMTRACE_WORD(7)};

// Without a frame, as libc's own: a child that such a call makes (clone, vfork) returns from it as well. The seventh
// argument is on the stack.
asm(R"(
  .text
  .globl syscall
  .type syscall, @function
syscall:
  .cfi_startproc
  cmpq $512, %rdi
  jae 1f
  leaq cvmtrace_recorded_numbers(%rip), %rax
  btq %rdi, (%rax)
  jnc 1f
  jmp cvmtrace_recorded_syscall
1:
  movq %rdi, %rax
  movq %rsi, %rdi
  movq %rdx, %rsi
  movq %rcx, %rdx
  movq %r8, %r10
  movq %r9, %r8
  movq 8(%rsp), %r9
  syscall
  cmpq $-4095, %rax
  jae 2f
  ret
2:
  movq %rax, %rdi
  jmp cvmtrace_failed_syscall
  .cfi_endproc
  .size syscall, .-syscall
)");

#endif
