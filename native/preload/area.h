// This process's part in a recording: the memory that it shares with the recorder, and what a fork changes.
#pragma once

#include <sys/types.h>

#include <atomic>

#include "record_area.h"

namespace cvmtrace::preload {

enum AttachState : uint32_t { kUntried = 0, kAttaching = 1, kAttached = 2, kInert = 3 };

struct Area {
  std::atomic<uint32_t> state;
  RecordAreaHeader* header;
  VcpuSlot* vcpu_slots;
  ThreadSlot* thread_slots;
  // In a page that the kernel clears in a forked child (MADV_WIPEONFORK), whoever made it and how: 0 says that this
  // process has not attached yet, else which of its line it is. A child of vfork shares it, as it does all memory.
  std::atomic<uint64_t>* generation;
  std::atomic<pid_t> pid;
  // The recorder was found dead: no thread waits for it again.
  std::atomic<bool> abandoned;
};
extern Area area;

// Attaches to the recorder that CVMTRACE_RECORD names; once, and for good: if it cannot, the library only forwards.
bool Attach();
// In a child: a process of its own, that attached.
void EnterChild();

// Whether this process records. Attaches it at the first hook or constructor, and notices that it is a new one.
inline bool Recording() {
  if (area.state.load(std::memory_order_acquire) != kAttached) [[unlikely]] {
    if (area.state.load(std::memory_order_relaxed) != kUntried || !Attach()) return false;
  }
  if (area.header->stopped.load(std::memory_order_relaxed)) [[unlikely]]
    return false;
  if (area.generation->load(std::memory_order_relaxed) == 0) [[unlikely]]
    EnterChild();
  return true;
}

// Whether this is a child of vfork or clone(CLONE_VM): its descriptors are its own, and the memory is not. A system
// call, for the few places that keep a descriptor in mind.
bool SharesMemoryOfParent();

// A descriptor of the shared memory, or -1. The target can have closed it and used its number for something else, so
// it is looked at before each use, and opened again by its path if that still works.
int AreaFd();
// Whether `fd` is that descriptor, which the target did not open and so cannot mean.
bool IsAreaFd(int fd);

// Whether the recorder still lives: it holds a lock (F_OFD_SETLK) on the first byte of the memory as long as it does.
bool RecorderLives();

}  // namespace cvmtrace::preload
