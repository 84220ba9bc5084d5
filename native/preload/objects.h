// Kernel objects that this process has descriptors of, with the numbers that they have in the trace.
#pragma once

#include <stdint.h>

#include <atomic>

#include "record_area.h"

struct kvm_run;

namespace cvmtrace::preload {

enum class Kind : uint32_t {
  kUnknown,  // nobody has looked yet
  kOther,    // not of interest
  kKvm,      // /dev/kvm
  kVm,
  kVcpu,
  kGuestMemfd,
  kContainer,  // /dev/vfio/vfio
  kGroup,      // /dev/vfio/N
  kDevice,     // of VFIO
  kIommufd,
  kMemory,  // a file that can stand behind a guest's memory: memfd, tmpfs, hugetlbfs, or mapped shared
};

constexpr uint32_t Bit(Kind kind) { return 1u << static_cast<uint32_t>(kind); }

struct alignas(64) Object {
  std::atomic<int32_t> references;  // descriptors of it
  Kind kind;
  uint32_t number;  // in the trace, from 1
  uint32_t owner;   // of a vCPU: the number of its VM, 0 if unknown
  uint32_t index;   // vCPU's, group's, or N of /dev/vfio/devices/vfioN; kNoIndex if there is none
  // Of a vCPU that has run.
  std::atomic<uint32_t> run_state;  // 0, or what vcpu_run.cc knows of it
  const kvm_run* run;
  VcpuSlot* slot;
  // The thread that has its open exit, and which of the threads that had that slot.
  ThreadSlot* exit_thread;
  uint32_t exit_tid;
};

inline constexpr uint32_t kNoIndex = UINT32_MAX;

// A new object with one reference and a number of its own; 0 if there are more than can be kept in mind.
uint32_t MakeObject(Kind kind, uint32_t index = kNoIndex, uint32_t owner = 0);
// Only for a position that MakeObject() gave. What it says stays as it was after the last reference, for some time.
Object& ObjectAt(uint32_t position);
void AddReference(Object& object);
// Whether it was the last.
bool DropReference(Object& object);

// Positions from 1 up to below it have been given out.
uint32_t ObjectsEnd();

// Whether this process drives a guest or devices: it has a VM, a container, a device or an iommufd.
bool DrivesGuest();

}  // namespace cvmtrace::preload
