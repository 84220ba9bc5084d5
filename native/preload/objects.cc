#include "objects.h"

#include <algorithm>

#include "area.h"

namespace cvmtrace::preload {
namespace {

// Memory only for what is used. Positions go round, so that one which is free again is not given out soon: a thread may
// still be looking at it.
constexpr uint32_t kObjects = 1u << 16;
constinit Object objects[kObjects] = {};
constinit std::atomic<uint32_t> next_position = 0;
constinit std::atomic<int32_t> drivers = 0;

constexpr uint32_t kDrivers = Bit(Kind::kVm) | Bit(Kind::kContainer) | Bit(Kind::kDevice) | Bit(Kind::kIommufd);

}  // namespace

uint32_t MakeObject(Kind kind, uint32_t index, uint32_t owner) {
  for (uint32_t tries = 0; tries < kObjects; ++tries) {
    const uint32_t position = next_position.fetch_add(1, std::memory_order_relaxed) % kObjects;
    Object& object = objects[position];
    int32_t none = 0;
    if (position == 0 || !object.references.compare_exchange_strong(none, 1, std::memory_order_acquire)) continue;
    object.kind = kind;
    object.number = area.header->objects.fetch_add(1, std::memory_order_relaxed) + 1;
    object.owner = owner;
    object.index = index;
    object.run_state.store(0, std::memory_order_relaxed);
    object.run = nullptr;
    object.slot = nullptr;
    object.exit_thread = nullptr;
    if (Bit(kind) & kDrivers) drivers.fetch_add(1, std::memory_order_relaxed);
    return position;
  }
  return 0;
}

Object& ObjectAt(uint32_t position) { return objects[position % kObjects]; }

void AddReference(Object& object) { object.references.fetch_add(1, std::memory_order_relaxed); }

bool DropReference(Object& object) {
  if (object.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
  if (Bit(object.kind) & kDrivers) drivers.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

uint32_t ObjectsEnd() { return std::min(next_position.load(std::memory_order_relaxed), kObjects); }

bool DrivesGuest() { return drivers.load(std::memory_order_relaxed) > 0; }

}  // namespace cvmtrace::preload
