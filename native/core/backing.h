// The memory behind a DMA mapping.
#pragma once

#include "op_run.h"

namespace cvmtrace {

struct Backing {
  int error = 0;  // why there is none
  const Object* object = nullptr;
  uint64_t hva = 0;
};

// [offset, offset + len) of the memory that `peer` names: host memory, or a guest_memfd that is mapped (ENODEV if it
// cannot be). EBADF if there is no such memory, EINVAL beyond its end. An offset that is absent is 0.
inline Backing FindBacking(const OpRun& run) {
  const Object* const memory = run.objects().Find(run.peer());
  if (!memory || !memory->IsMemory()) return {EBADF};
  if (!memory->Contains(run.offset(), run.len())) return {EINVAL};
  if (!memory->map) return {memory->map_errno};
  return {0, memory, memory->map.address() + run.offset()};
}

}  // namespace cvmtrace
