// Kernel objects of one session, by the numbers that a trace uses for them.
#pragma once

#include <stdint.h>

#include <memory>
#include <mutex>
#include <vector>

#include "scoped_fd.h"
#include "scoped_map.h"

namespace cvmtrace {

inline constexpr uint64_t kPageSize = 4096;

enum class ObjectKind : uint8_t {
  kVm,
  kGuestMemfd,
  kRam,
  kVcpu,
  // Of iommufd: the file itself, what has an id in it, and devices that are bound to it.
  kIommufd,
  kIoas,
  kHwpt,
  kFaultQueue,
  kViommu,
  kVdevice,
  kMockDevice,
  kVfioDevice,
  kVfioContainer,
  kGupHold,
};

struct Object {
  ObjectKind kind;
  ScopedFd fd;        // none for anonymous memory, and for what is only an id in an iommufd
  ScopedMap map;      // of memory, but not of a guest_memfd that cannot be mapped; a vCPU's struct kvm_run
  uint64_t size = 0;  // bytes of the file or mapping
  int map_errno = 0;  // why a guest_memfd has no mapping
  bool hugetlb = false;
  uint64_t vm_type = 0;  // a VM's, as passed to KVM_CREATE_VM

  // In an iommufd. Its fd is not owned: an iommufd stays until Clear().
  int iommufd = -1;
  uint32_t id = 0;         // that IOMMU_DESTROY takes; 0 for what it does not end
  uint32_t device_id = 0;  // a device's, for IOMMU_HWPT_ALLOC
  uint32_t hwpt_id = 0;    // the page table that a mock device was attached to

  // Of a container, which is nothing without them.
  ScopedFd group;
  ScopedFd device;

  bool IsMemory() const { return kind == ObjectKind::kRam || kind == ObjectKind::kGuestMemfd; }

  // Whether [offset, offset + len) is inside.
  bool Contains(uint64_t offset, uint64_t len) const { return offset <= size && len <= size - offset; }
};

// Written by the executor's thread only, which therefore reads without the lock; other threads read with it. Objects
// live until Clear(), but for those with an id in an iommufd and for holds, which Remove() ends.
class Objects {
 public:
  // Numbers index a vector; a trace counts its objects from 1.
  static constexpr uint32_t kMaxNumber = 65535;

  // Executor's thread. nullptr if there is no such object, or it is of another kind.
  Object* Find(uint32_t number, ObjectKind kind) const {
    Object* const object = Find(number);
    return object && object->kind == kind ? object : nullptr;
  }

  // Executor's thread. 0, EINVAL for a number above kMaxNumber, or EEXIST.
  [[nodiscard]] int CheckFree(uint32_t number) const;

  // Executor's thread; only after CheckFree() returned 0.
  void Add(uint32_t number, std::unique_ptr<Object> object);

  // Executor's thread. Closes the object, whose number is then free.
  void Remove(uint32_t number);

  // Executor's thread. nullptr if there is no such object.
  Object* Find(uint32_t number) const { return number < by_number_.size() ? by_number_[number].get() : nullptr; }

  // Executor's thread, or any after it ended.
  void Clear();

  // Any thread. The lock is held while `use` runs with the object or nullptr.
  template <typename Use>
  auto WithObject(uint32_t number, Use use) const {
    const std::lock_guard lock(mutex_);
    return use(number < by_number_.size() ? by_number_[number].get() : nullptr);
  }

  // Any thread.
  uint32_t count() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Object>> by_number_;
  uint32_t count_ = 0;
};

}  // namespace cvmtrace
