#include "recognise.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "area.h"
#include "raw_call.h"

namespace cvmtrace::preload {
namespace {

// "3" of "anon_inode:kvm-vcpu:3"; kNoIndex unless digits are all there is.
uint32_t NumberIn(const char* text) {
  uint32_t number = 0;
  if (!*text) return kNoIndex;
  for (; *text; ++text) {
    if (*text < '0' || *text > '9' || number > 99'999'999) return kNoIndex;
    number = number * 10 + static_cast<uint32_t>(*text - '0');
  }
  return number;
}

const char* After(const char* text, const char* prefix) {
  const size_t length = strlen(prefix);
  return strncmp(text, prefix, length) == 0 ? text + length : nullptr;
}

// Names as virt/kvm/kvm_main.c, virt/kvm/guest_memfd.c and drivers/vfio/group.c give them.
Named NameOfLink(const char* link) {
  if (const char* const anonymous = After(link, "anon_inode:")) {
    if (strcmp(anonymous, "kvm-vm") == 0) return {Kind::kVm};
    if (const char* const index = After(anonymous, "kvm-vcpu:")) return {Kind::kVcpu, NumberIn(index)};
    if (strcmp(anonymous, "[kvm-gmem]") == 0) return {Kind::kGuestMemfd};
    if (strcmp(anonymous, "[vfio-device]") == 0) return {Kind::kDevice};
    return {};
  }
  if (After(link, "/memfd:")) return {Kind::kMemory};
  return NameOfDevice(link);
}

bool IsMemoryFileSystem(int fd) {
  struct statfs system;
  if (RawCall(SYS_fstatfs, fd, &system) != 0) return false;
  if (system.f_type == HUGETLBFS_MAGIC) return true;
  struct stat status;
  return system.f_type == TMPFS_MAGIC && RawCall(SYS_fstat, fd, &status) == 0 && S_ISREG(status.st_mode);
}

// kUnknown if it cannot be known.
Named Look(int fd) {
  char path[32] = "/proc/self/fd/";
  size_t at = strlen(path);
  char digits[12];
  int count = 0;
  for (int rest = fd; count == 0 || rest; rest /= 10) digits[count++] = static_cast<char>('0' + rest % 10);
  while (count) path[at++] = digits[--count];
  path[at] = 0;
  char link[256];
  const long length = RawCall(SYS_readlinkat, AT_FDCWD, path, link, sizeof link - 1);
  if (length < 0) return {Kind::kUnknown};
  link[length] = 0;
  const Named named = NameOfLink(link);
  if (named.kind == Kind::kOther && link[0] == '/' && IsMemoryFileSystem(fd)) return {Kind::kMemory};
  return named;
}

}  // namespace

Named NameOfDevice(const char* path) {
  const char* const name = After(path, "/dev/");
  if (!name) return {};
  if (strcmp(name, "kvm") == 0) return {Kind::kKvm};
  if (strcmp(name, "iommu") == 0) return {Kind::kIommufd};
  const char* const vfio = After(name, "vfio/");
  if (!vfio) return {};
  if (strcmp(vfio, "vfio") == 0) return {Kind::kContainer};
  if (const char* const device = After(vfio, "devices/vfio")) return {Kind::kDevice, NumberIn(device)};
  const char* const without_iommu = After(vfio, "noiommu-");
  const uint32_t group = NumberIn(without_iommu ? without_iommu : vfio);
  return group == kNoIndex ? Named() : Named{Kind::kGroup, group};
}

Entry Recognise(int fd) {
  if (fd < 0 || fd >= kMaxFds) return {};
  const Named named = Look(fd);
  return named.kind == Kind::kUnknown ? Entry() : EnterRecognised(fd, named.kind, named.index);
}

Entry RecogniseAgain(int fd) {
  const Entry known = EntryOf(fd);
  if (fd < 0 || fd >= kMaxFds) return {};
  const Named named = Look(fd);
  const Object* const object = known.object();
  const bool same = named.kind == known.kind() &&
                    (!object || object->index == named.index || named.index == kNoIndex || object->index == kNoIndex);
  // A file that was mapped is memory, whatever its file system.
  if (same || (named.kind == Kind::kOther && known.kind() == Kind::kMemory)) return known;
  ForgetFd(fd);
  return named.kind == Kind::kUnknown ? Entry() : EnterRecognised(fd, named.kind, named.index);
}

Entry EnterMappedFile(int fd) {
  struct stat status;
  if (RawCall(SYS_fstat, fd, &status) != 0 || !S_ISREG(status.st_mode)) return {};
  ForgetFd(fd);
  return EnterRecognised(fd, Kind::kMemory, kNoIndex);
}

}  // namespace cvmtrace::preload
