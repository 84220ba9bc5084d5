// An ioctl that is recorded, and how its columns are found: the same that the executor's rows have
// (native/op-batch.ts).
//
// Structs are read after the call: where the kernel took the struct, it can be read, and without a fault. Where it may
// have refused the call before it looked, CopyIfReadable() asks. Only structs in which the kernel writes over what it
// was asked for are also copied before the call, with the same care.
#pragma once

#include <errno.h>
#include <string.h>

#include <algorithm>

#include "fd_table.h"
#include "readable.h"
#include "row.h"

namespace cvmtrace::preload {

inline constexpr size_t kMaxBefore = 64;

struct IoctlCall {
  int fd;
  uint32_t request;
  uintptr_t argument;
  Entry entry;
  uint64_t start_ns, end_ns;
  long returned;  // -errno if it failed
  // The struct before the call, if its kind of call asks for that and it could be read.
  bool has_before;
  alignas(8) unsigned char before[kMaxBefore];

  bool failed() const { return returned < 0; }
  uint32_t number() const { return entry.number(); }

  // The struct as it is after the call; false if it cannot be read.
  template <typename Struct>
  bool Read(Struct& to) const {
    return ReadBytes(&to, sizeof to);
  }
  // The same for an extensible struct that begins with its size: what the caller's does not have is 0.
  template <typename Struct>
  bool ReadSized(Struct& to) const {
    memset(&to, 0, sizeof to);
    uint64_t head;
    if (!ReadBytes(&head, sizeof head)) return false;
    const size_t bytes = std::min<size_t>(static_cast<uint32_t>(head), sizeof to);
    return bytes >= sizeof head && ReadBytes(&to, bytes);
  }
  // As it was passed.
  template <typename Struct>
  bool ReadBefore(Struct& to) const {
    static_assert(sizeof to <= kMaxBefore);
    if (has_before) memcpy(&to, before, sizeof to);
    return has_before;
  }

 private:
  bool ReadBytes(void* to, size_t bytes) const {
    if (returned == -EFAULT) return false;
    const void* const from = reinterpret_cast<const void*>(argument);
    if (!WasReadByKernel()) return CopyIfReadable(to, from, bytes);
    memcpy(to, from, bytes);
    return true;
  }
  // KVM copies a struct before it judges it, and has these errors for when it does not get there. VFIO and iommufd
  // also say EINVAL before.
  bool WasReadByKernel() const {
    if (returned >= 0) return true;
    constexpr uint32_t kOfKvm = Bit(Kind::kVm) | Bit(Kind::kVcpu) | Bit(Kind::kGuestMemfd);
    return (Bit(entry.kind()) & kOfKvm) && returned != -ENOTTY && returned != -EBADF && returned != -EIO &&
           returned != -EPERM;
  }
};

// Sets the row's columns, and keeps in mind what the call changed. False if it is not to be a row.
using Decode = bool (*)(const IoctlCall& call, Row& row);

struct IoctlKind {
  uint32_t kinds;  // of descriptors that it means this on: numbers are used again between kinds
  Op op;
  uint8_t bytes_before;  // of the struct, to be copied before the call
  Decode decode;
};

// nullptr if it is not recorded. By the whole request: KVM_SET_MEMORY_ATTRIBUTES and -2 differ in direction and size.
const IoctlKind* FindKvmIoctl(uint32_t request);
const IoctlKind* FindVfioIoctl(uint32_t request);
const IoctlKind* FindIommufdIoctl(uint32_t request);

}  // namespace cvmtrace::preload
