#include "mappings.h"

#include <algorithm>

namespace cvmtrace::preload {
namespace {

constexpr uint64_t kPageShift = 12;
constexpr uint32_t kMappings = 4096;
// In one word, so that nobody reads half a range: the first page, and how many (up to 1 TiB; a longer one is not kept).
constexpr uint64_t kPagesBits = 28;

struct Slot {
  std::atomic<uint64_t> range;   // 0: none
  std::atomic<uint64_t> delta;   // offset in the file - address: the same after the mapping was cut
  std::atomic<uint32_t> number;  // claims the slot
};
constinit Slot slots[kMappings] = {};
// Slots from here on were never used.
constinit std::atomic<uint32_t> end = 0;

uint64_t Pack(uint64_t start, uint64_t length) { return start >> kPageShift << kPagesBits | length >> kPageShift; }
uint64_t StartOf(uint64_t range) { return range >> kPagesBits << kPageShift; }
uint64_t LengthOf(uint64_t range) { return (range & ((uint64_t{1} << kPagesBits) - 1)) << kPageShift; }
uint64_t EndOf(uint64_t range) { return StartOf(range) + LengthOf(range); }

uint64_t PageUp(uint64_t bytes) { return (bytes + (1 << kPageShift) - 1) >> kPageShift << kPageShift; }

bool Overlap(uint64_t range, uint64_t start, uint64_t stop) {
  return range != 0 && StartOf(range) < stop && start < EndOf(range);
}

void Claim(uint32_t number, uint64_t delta, uint64_t start, uint64_t length) {
  if (length == 0 || length >> kPageShift >> kPagesBits || start >> (64 - kPagesBits + kPageShift)) return;
  for (uint32_t index = 0; index < kMappings; ++index) {
    Slot& slot = slots[index];
    uint32_t none = 0;
    if (slot.number.load(std::memory_order_relaxed) != 0 || !slot.number.compare_exchange_strong(none, number))
      continue;
    slot.delta.store(delta, std::memory_order_relaxed);
    uint32_t known = end.load(std::memory_order_relaxed);
    while (known <= index && !end.compare_exchange_weak(known, index + 1)) {
    }
    slot.range.store(Pack(start, length), std::memory_order_release);
    return;
  }
}

}  // namespace

void AddMapping(const Mapping& mapping) {
  Claim(mapping.number, mapping.offset - mapping.start, mapping.start, PageUp(mapping.length));
}

Mapping FindMapping(uint64_t start, uint64_t length) {
  const uint64_t stop = start + PageUp(length);
  Mapping found = {};
  for (uint32_t index = 0; index < end.load(std::memory_order_acquire); ++index) {
    const uint64_t range = slots[index].range.load(std::memory_order_acquire);
    if (!Overlap(range, start, stop)) continue;
    const uint64_t first = std::max(start, StartOf(range));
    if (found.number && first >= found.start) continue;
    found.number = slots[index].number.load(std::memory_order_relaxed);
    found.start = first;
    found.length = std::min(stop, EndOf(range)) - first;
    found.offset = first + slots[index].delta.load(std::memory_order_relaxed);
  }
  return found;
}

void CutMappings(uint64_t start, uint64_t length) {
  const uint64_t stop = start + PageUp(length);
  for (uint32_t index = 0; index < end.load(std::memory_order_acquire); ++index) {
    Slot& slot = slots[index];
    uint64_t range = slot.range.load(std::memory_order_acquire);
    if (!Overlap(range, start, stop)) continue;
    const uint64_t before = start > StartOf(range) ? start - StartOf(range) : 0;
    const uint64_t behind = EndOf(range) > stop ? EndOf(range) - stop : 0;
    const uint32_t number = slot.number.load(std::memory_order_relaxed);
    const uint64_t delta = slot.delta.load(std::memory_order_relaxed);
    const uint64_t rest = before ? Pack(StartOf(range), before) : behind ? Pack(stop, behind) : 0;
    if (!slot.range.compare_exchange_strong(range, rest, std::memory_order_acq_rel)) continue;
    if (rest == 0) slot.number.store(0, std::memory_order_release);
    // A hole in the middle leaves two.
    if (before && behind) Claim(number, delta, stop, behind);
  }
}

}  // namespace cvmtrace::preload
