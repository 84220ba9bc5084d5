#include "iommufd_ids.h"

#include <atomic>

#include "area.h"

namespace cvmtrace::preload {
namespace {

// Open addressing. A key stays when its object goes: the kernel uses small ids again.
constexpr uint32_t kSlots = 1u << 14;
struct Slot {
  std::atomic<uint64_t> key;  // iommufd's number, id
  std::atomic<uint32_t> number;
};
constinit Slot slots[kSlots] = {};

// nullptr if the table is full.
Slot* Find(uint32_t iommufd, uint32_t id) {
  if (id == 0) return nullptr;
  const uint64_t key = uint64_t{iommufd} << 32 | id;
  uint32_t at = static_cast<uint32_t>((key * 0x9e37'79b9'7f4a'7c15) >> 50);
  for (uint32_t tries = 0; tries < kSlots; ++tries, at = (at + 1) % kSlots) {
    uint64_t found = slots[at].key.load(std::memory_order_relaxed);
    if (found == 0 && slots[at].key.compare_exchange_strong(found, key, std::memory_order_relaxed)) return &slots[at];
    if (found == key) return &slots[at];
  }
  return nullptr;
}

uint32_t NextNumber() { return area.header->objects.fetch_add(1, std::memory_order_relaxed) + 1; }

}  // namespace

uint32_t NumberOfId(uint32_t iommufd, uint32_t id) {
  Slot* const slot = Find(iommufd, id);
  if (!slot) return 0;
  uint32_t number = slot->number.load(std::memory_order_relaxed);
  if (number) return number;
  const uint32_t fresh = NextNumber();
  return slot->number.compare_exchange_strong(number, fresh, std::memory_order_relaxed) ? fresh : number;
}

uint32_t NumberNewId(uint32_t iommufd, uint32_t id) {
  Slot* const slot = Find(iommufd, id);
  if (!slot) return 0;
  const uint32_t fresh = NextNumber();
  slot->number.store(fresh, std::memory_order_relaxed);
  return fresh;
}

void NameId(uint32_t iommufd, uint32_t id, uint32_t number) {
  if (Slot* const slot = Find(iommufd, id)) slot->number.store(number, std::memory_order_relaxed);
}

void ForgetId(uint32_t iommufd, uint32_t id) { NameId(iommufd, id, 0); }

}  // namespace cvmtrace::preload
