#include "thread_ring.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../core/clock.h"
#include "raw_call.h"

namespace cvmtrace::preload {

constinit thread_local Thread thread = {};

namespace {

constexpr uint32_t kSpins = 200;
constexpr long kFirstSleepNs = 50'000;
constexpr long kLongestSleepNs = 1'000'000;
constexpr uint64_t kLookAfterNs = 100'000'000;
// A row takes some ns, and a page fault; but on a busy machine signals can come faster than they are handled.
constexpr uint64_t kLongestWriteNs = 10'000'000'000;
// A thread without a slot looks for one again once in so many rows.
constexpr uint32_t kRowsBetweenClaims = 1024;

constinit pthread_key_t thread_key = 0;
constinit std::atomic<bool> has_key = false;

// Counters have one writer at a time: the thread that they belong to.
void Add(std::atomic<uint64_t>& counter, uint64_t amount) {
  counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

size_t RingBytes() { return static_cast<size_t>(area.header->ring_records) * sizeof(Record); }

// As many as there are slots; memory only for those that this process claimed.
constinit Ring rings[kThreadSlots] = {};

Record* MapRecords(uint32_t index) {
  const int fd = AreaFd();
  if (fd < 0) return nullptr;
  const long records = RawCall(SYS_mmap, 0, RingBytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                               RingOffset(index, area.header->ring_records));
  return IsError(records) ? nullptr : reinterpret_cast<Record*>(records);
}

void GiveBack(Ring& ring) {
  ring.slot->exit_open_ns.store(0, std::memory_order_relaxed);
  ring.slot->state.store(kSlotEnded, std::memory_order_release);
  RawCall(SYS_munmap, ring.records, RingBytes());
}

// nullptr if no slot is free, or there is no memory.
Ring* Claim(uint64_t generation) {
  for (uint32_t index = 0; index < kThreadSlots; ++index) {
    ThreadSlot& slot = area.thread_slots[index];
    uint32_t free = kSlotFree;
    if (slot.state.load(std::memory_order_relaxed) != kSlotFree ||
        !slot.state.compare_exchange_strong(free, kSlotClaimed, std::memory_order_acq_rel)) {
      continue;
    }
    Record* const records = MapRecords(index);
    if (!records) {
      slot.state.store(kSlotEnded, std::memory_order_release);
      return nullptr;
    }
    // The ring is empty, wherever its last owner and the recorder stopped.
    const uint64_t tail = slot.tail.load(std::memory_order_acquire);
    slot.head.store(tail, std::memory_order_relaxed);
    slot.exit_open_ns.store(0, std::memory_order_relaxed);
    slot.tid.store(static_cast<uint32_t>(RawCall(SYS_gettid)), std::memory_order_relaxed);
    slot.pid.store(static_cast<uint32_t>(area.pid.load(std::memory_order_relaxed)), std::memory_order_release);
    Ring& ring = rings[index];
    ring.slot = &slot;
    ring.records = records;
    ring.generation = generation;
    ring.known_tail = tail;
    ring.reserved.store(tail, std::memory_order_relaxed);
    ring.writing.store(0, std::memory_order_relaxed);
    return &ring;
  }
  return nullptr;
}

// The thread's first row, or the first one after a fork.
Ring* Enter(uint64_t generation) {
  Ring* const before = thread.ring.load(std::memory_order_relaxed);
  // Looking through all slots is not for each row.
  if (!before && thread.misses % kRowsBetweenClaims != 0) return nullptr;
  // The slot can have become free since, and be the one that is claimed.
  Record* const parents = before ? before->records : nullptr;
  Ring* const claimed = Claim(generation);
  if (!claimed) return nullptr;
  Ring* current = before;
  if (!thread.ring.compare_exchange_strong(current, claimed, std::memory_order_relaxed)) {
    // A signal's handler was here meanwhile.
    GiveBack(*claimed);
    return current;
  }
  // In a child the parent's is still mapped.
  if (parents) RawCall(SYS_munmap, parents, RingBytes());
  if (has_key.load(std::memory_order_relaxed)) ::pthread_setspecific(thread_key, &thread);
  return claimed;
}

Ring* OwnRing() {
  Ring* const ring = thread.ring.load(std::memory_order_relaxed);
  const uint64_t generation = area.generation->load(std::memory_order_relaxed);
  if (ring && ring->generation == generation) [[likely]]
    return ring;
  return Enter(generation);
}

uint32_t StampOf(uint64_t place) { return static_cast<uint32_t>(place + 1); }

void Fill(Ring& own, uint64_t place, const Record& record) {
  Record& to = own.records[place & (area.header->ring_records - 1)];
  memcpy(&to, &record, sizeof record);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  to.stamp = StampOf(place);
}

void Publish(Ring& own) {
  own.slot->head.store(own.reserved.load(std::memory_order_relaxed), std::memory_order_release);
}

// After a row was given up half way: what has a place and is not whole is a row that was lost.
void Mend(Ring& own) {
  const uint64_t end = own.reserved.load(std::memory_order_relaxed);
  for (uint64_t place = own.slot->head.load(std::memory_order_relaxed); place < end; ++place) {
    if (own.records[place & (area.header->ring_records - 1)].stamp == StampOf(place)) continue;
    Record lost = {};
    lost.op = Op::lost;
    lost.ts_ns = own.writing_since_ns;
    lost.len = 1;
    lost.present = kHasLen;
    Fill(own, place, lost);
  }
  Publish(own);
  own.writing.store(0, std::memory_order_relaxed);
}

// Whether the WriteRecord() that seems to be under way never comes to its end, as a signal's handler left it by
// siglongjmp(). A handler that interrupted it runs deeper in the same stack, or in one of its own.
bool IsGivenUp(const Ring& own, uintptr_t frame, uint64_t now) {
  if (now - own.writing_since_ns > kLongestWriteNs && now > own.writing_since_ns) return true;
  stack_t other = {};
  RawCall(SYS_sigaltstack, 0, &other);
  const uintptr_t outer = own.writing.load(std::memory_order_relaxed);
  const auto start = reinterpret_cast<uintptr_t>(other.ss_sp);
  const bool in_other = other.ss_flags & SS_ONSTACK;
  const bool outer_in_other = outer - start < other.ss_size;
  return in_other == outer_in_other ? frame >= outer : outer_in_other;
}

bool HasRoom(Ring& own, uint64_t place) {
  if (place - own.known_tail < area.header->ring_records) return true;
  own.known_tail = own.slot->tail.load(std::memory_order_acquire);
  return place - own.known_tail < area.header->ring_records;
}

bool IsOver() {
  return area.abandoned.load(std::memory_order_relaxed) || area.header->stopped.load(std::memory_order_relaxed);
}

// Until there is room; false if there will be none. The recorder empties rings each millisecond or so if they are busy.
bool WaitForRoom(Ring& own, uint64_t place) {
  if (!area.header->block_when_full || IsOver()) return false;
  const uint64_t start = NowNs();
  uint64_t looked = start;
  bool room = false;
  timespec pause = {0, kFirstSleepNs};
  for (uint32_t spin = 0; spin < kSpins && !(room = HasRoom(own, place)); ++spin) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  while (!room && !IsOver()) {
    RawCall(SYS_nanosleep, &pause);
    if (pause.tv_nsec < kLongestSleepNs) pause.tv_nsec *= 2;
    room = HasRoom(own, place);
    const uint64_t now = NowNs();
    if (room || now - looked < kLookAfterNs) continue;
    looked = now;
    if (!RecorderLives()) area.abandoned.store(true, std::memory_order_relaxed);
    // Rows that nobody will publish would fill the ring for ever.
    if (own.slot->head.load(std::memory_order_relaxed) != own.reserved.load(std::memory_order_relaxed)) Mend(own);
  }
  Add(own.slot->blocked_ns, NowNs() - start);
  return room;
}

// A place of its own for each row: a signal's handler that comes between reading and writing `reserved` takes the one
// that was meant for us, and we the next.
bool Reserve(Ring& own, uint64_t& place) {
  place = own.reserved.load(std::memory_order_relaxed);
  do {
    if (!HasRoom(own, place)) [[unlikely]] {
      if (!WaitForRoom(own, place)) return false;
      place = own.reserved.load(std::memory_order_relaxed);
    }
  } while (!own.reserved.compare_exchange_weak(place, place + 1, std::memory_order_relaxed));
  return true;
}

void EndThread(void*) {
  Ring* const ring = thread.ring.load(std::memory_order_relaxed);
  // A key's values are inherited by a child, the slot is not.
  if (!ring || ring->generation != area.generation->load(std::memory_order_relaxed)) return;
  if (ring->writing.load(std::memory_order_relaxed)) Mend(*ring);
  thread.open_exits = 0;
  thread.exit_vcpu = 0;
  // A signal's handler that comes from here on claims another.
  thread.ring.store(nullptr, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  GiveBack(*ring);
}

}  // namespace

void PrepareThreads() {
  if (::pthread_key_create(&thread_key, EndThread) == 0) has_key.store(true, std::memory_order_relaxed);
}

ThreadSlot* OwnSlot() {
  Ring* const ring = OwnRing();
  return ring ? ring->slot : nullptr;
}

void ForgetParentsThread() {
  thread.misses = 0;
  thread.open_exits = 0;
  thread.exit_vcpu = 0;
}

// The recorder reads up to the head. What a signal's handler writes while we are between Reserve() and Publish() lies
// behind our own row, so it leaves the publishing to us.
[[gnu::noinline]] void WriteRecord(const Record& record) {
  Ring* const found = OwnRing();
  if (!found) [[unlikely]] {
    area.header->dropped_without_slot.fetch_add(1, std::memory_order_relaxed);
    ++thread.misses;
    return;
  }
  Ring& own = *found;
  const auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const uint64_t now = record.ts_ns + record.dur_ns;
  if (own.writing.load(std::memory_order_relaxed) && IsGivenUp(own, frame, now)) [[unlikely]]
    Mend(own);
  const bool outermost = own.writing.load(std::memory_order_relaxed) == 0;
  if (outermost) {
    own.writing_since_ns = now;
    own.writing.store(frame, std::memory_order_relaxed);
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  uint64_t place;
  if (Reserve(own, place)) [[likely]] {
    Fill(own, place, record);
  } else {
    Add(own.slot->dropped, 1);
  }
  if (!outermost) return;
  do {
    // The second time round as well: a head that a handler moved on meanwhile must not go back.
    own.writing.store(frame, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    Publish(own);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    own.writing.store(0, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    // A handler that came between the two left its row to us.
  } while (own.slot->head.load(std::memory_order_relaxed) != own.reserved.load(std::memory_order_relaxed));
}

}  // namespace cvmtrace::preload
