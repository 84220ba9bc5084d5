// The library as a file: what it brings into a process that knows nothing of it.
#include <elf.h>
#include <errno.h>

#include <set>
#include <string_view>

#include "testing/recording.h"

namespace cvmtrace::preload {
namespace {

#ifdef CVMTRACE_RECORD_LIBRARY
// The dynamic section, and what it leads to; addresses are offsets in the first megabytes of this file.
class Library {
 public:
  Library() {
    const ScopedFd fd(::open(CVMTRACE_RECORD_LIBRARY, O_RDONLY | O_CLOEXEC));
    if (!fd) abort();
    size_ = static_cast<size_t>(::lseek(fd.get(), 0, SEEK_END));
    start_ = static_cast<const char*>(::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0));
    const auto& header = At<Elf64_Ehdr>(0);
    for (size_t i = 0; i < header.e_shnum; ++i) {
      const auto& section = At<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr));
      if (section.sh_type != SHT_DYNSYM && section.sh_type != SHT_DYNAMIC) continue;
      const auto& names = At<Elf64_Shdr>(header.e_shoff + section.sh_link * sizeof(Elf64_Shdr));
      for (size_t at = section.sh_offset; at < section.sh_offset + section.sh_size; at += section.sh_entsize) {
        if (section.sh_type == SHT_DYNAMIC) {
          TakeDynamic(At<Elf64_Dyn>(at), names.sh_offset);
        } else {
          TakeSymbol(At<Elf64_Sym>(at), names.sh_offset);
        }
      }
    }
  }

  std::set<std::string_view> needed, exported;
  bool static_tls = false;

 private:
  template <typename T>
  const T& At(size_t offset) const {
    return *reinterpret_cast<const T*>(start_ + offset);
  }
  void TakeDynamic(const Elf64_Dyn& entry, size_t names) {
    if (entry.d_tag == DT_NEEDED) needed.insert(start_ + names + entry.d_un.d_val);
    if (entry.d_tag == DT_FLAGS) static_tls = entry.d_un.d_val & DF_STATIC_TLS;
  }
  void TakeSymbol(const Elf64_Sym& symbol, size_t names) {
    if (symbol.st_shndx != SHN_UNDEF) exported.insert(start_ + names + symbol.st_name);
  }

  size_t size_ = 0;
  const char* start_ = nullptr;
};

TEST("the library needs libc, exports what it interposes, and asks nothing of the thread's memory") {
  const Library library;
  CHECK(library.needed == std::set<std::string_view>{"libc.so.6"});
  CHECK(library.static_tls);
  const std::set<std::string_view> interposed = {
    "ioctl",
    "fallocate",
    "fallocate64",
    "madvise",
    "mmap",
    "mmap64",
    "munmap",
    "open",
    "open64",
    "openat",
    "openat64",
    "__open_2",
    "__open64_2",
    "__openat_2",
    "__openat64_2",
    "close",
    "close_range",
    "closefrom",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "fcntl64",
    "memfd_create",
    "recvmsg",
    "recvmmsg",
#if defined(__x86_64__)
    "syscall",
#endif
  };
  CHECK(library.exported == interposed);
}
#endif

TARGET(libc) {
  // As libc has them, whether recorded or not.
  char name[] = "/tmp/cvmtrace-XXXXXX";
  const int file = ::mkstemp(name);
  EXPECT(file >= 0);
  errno = 4711;
  const int again = ::open(name, O_RDWR | O_CLOEXEC | O_CREAT, 0600);
  EXPECT(again >= 0 && errno == 4711 && ::fcntl(again, F_GETFD) == FD_CLOEXEC);
  EXPECT(::openat(AT_FDCWD, "/nowhere", O_RDONLY) == -1 && errno == ENOENT);
  EXPECT(::open(reinterpret_cast<const char*>(1), O_RDONLY) == -1 && errno == EFAULT);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  EXPECT(::fcntl(file, F_SETLK, &lock) == 0);
  EXPECT(::mmap(nullptr, 0, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED && errno == EINVAL);
  EXPECT(::munmap(reinterpret_cast<void*>(1), 4096) == -1 && errno == EINVAL);
  EXPECT(::dup(-1) == -1 && errno == EBADF);
  EXPECT(::close(file) == 0 && ::close(file) == -1 && errno == EBADF);
  ::unlink(name);
  return 0;
}

TEST("what is interposed answers as libc does") {
  TestRecording recording;
  RUN_TARGET(recording, "libc");
  // Of a process whose recorder is not there, too.
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv(kRecordVariable, "/nowhere", 1);
    ::unsetenv("LD_PRELOAD");
#ifdef CVMTRACE_RECORD_LIBRARY
    ::setenv("LD_PRELOAD", CVMTRACE_RECORD_LIBRARY, 1);
#endif
    ::execl("/proc/self/exe", "target", "--target", "libc", nullptr);
    _exit(98);
  }
  CHECK(recording.Wait(pid) == 0);
}

}  // namespace
}  // namespace cvmtrace::preload

RECORD_TEST_MAIN()
