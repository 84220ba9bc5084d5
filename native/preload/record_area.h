// The memory that recorded processes share with their recorder: one memfd of the recorder's, which a target opens by
// the path in the environment variable CVMTRACE_RECORD (/proc/PID/fd/N, so that nothing is left behind whatever dies
// first).
//
//   RecordAreaHeader | VcpuSlot x kVcpuSlots | ThreadSlot x kThreadSlots | ring of thread 0 | ring of thread 1 | ...
//
// The file is sparse: a slot or ring takes memory once it is written to. Who writes what: a target writes rings, heads
// and what it claims; the recorder writes tails and gives slots back. Nothing in it is a pointer. The recorder takes
// every value as untrusted: a target may write anywhere.
//
// A row that a thread gave up half way (a signal's handler jumped out of it) is of the op `lost` instead.
//
// A row of a call is written when the call is over, with the time it began. An exit's row is written when its vCPU
// enters KVM_RUN again, thus after the rows of the calls inside it; ThreadSlot::exit_open_ns says meanwhile that one is
// open, so that the recorder can put it before them.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "../core/ops.h"

namespace cvmtrace {

inline constexpr uint64_t kRecordAreaMagic = 0x31636572746d7663;  // "cvmtrec1"
inline constexpr char kRecordVariable[] = "CVMTRACE_RECORD";

inline constexpr uint32_t kVcpuSlots = 2048;
inline constexpr uint32_t kThreadSlots = 4096;
// Exit reasons of KVM_RUN that are counted apart; higher ones, and KVM_RUN that failed, have the last two.
inline constexpr uint32_t kExitReasons = 62;
inline constexpr uint32_t kExitOther = 62;
inline constexpr uint32_t kExitFailed = 63;

inline constexpr size_t kRecordBytes = 128;
inline constexpr size_t kRecordTextBytes = 32;

// Columns that a Record holds; one that is absent is null in the trace. ts_ns is always there.
enum RecordPresent : uint16_t {
  kHasObj = 1 << 0,
  kHasGpa = 1 << 1,
  kHasHva = 1 << 2,
  kHasIova = 1 << 3,
  kHasOffset = 1 << 4,
  kHasLen = 1 << 5,
  kHasAttrs = 1 << 6,
  kHasFlags = 1 << 7,
  kHasVcpu = 1 << 8,
  kHasResult = 1 << 9,
  kHasDur = 1 << 10,
  kHasText = 1 << 11,
};

// One row of the trace.
struct alignas(64) Record {
  uint64_t ts_ns;  // CLOCK_MONOTONIC
  uint64_t dur_ns;
  uint64_t gpa, hva, iova, offset, len, attrs, flags;
  int64_t result;
  uint32_t obj;
  uint16_t vcpu;
  uint16_t error;  // errno
  uint16_t present;
  Op op;
  uint8_t reserved;
  char text[kRecordTextBytes];  // ends at the first 0 or with the array
  uint32_t stamp;               // the library's own: low bits of 1 + its place, once it is whole
};
static_assert(sizeof(Record) == kRecordBytes);

// A thread of a target. `state` goes 0 -> kSlotClaimed (target, by compare-and-exchange) -> kSlotEnded (target, or the
// recorder if the thread is gone) -> 0 (recorder, when the ring is empty).
enum SlotState : uint32_t { kSlotFree = 0, kSlotClaimed = 1, kSlotEnded = 2 };

struct alignas(128) ThreadSlot {
  // Written by the target.
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> pid;
  std::atomic<uint32_t> tid;
  uint32_t reserved;
  std::atomic<uint64_t>
      head;  // records written since the slot was claimed; the next one's place is head % ring_records
  std::atomic<uint64_t> dropped;     // records that found no room (--on-full drop), or that a wait gave up
  std::atomic<uint64_t> blocked_ns;  // time spent waiting for room
  // Start of the exit that this thread is inside of, 0 for none. Stored with a full barrier (sequentially consistent)
  // when it opens: the calls inside must not read the clock before the recorder can see that it is open.
  std::atomic<uint64_t> exit_open_ns;
  // Written by the recorder, on a cache line of its own.
  alignas(64) std::atomic<uint64_t> tail;  // records taken
};
static_assert(sizeof(ThreadSlot) == 128);

// A vCPU of a target: what KVM_RUN returned, counted where no killed target can take it along. One writer at a time:
// the thread that runs it.
struct alignas(64) VcpuSlot {
  std::atomic<uint32_t> state;  // SlotState; never given back while the recording lasts
  std::atomic<uint32_t> pid;
  std::atomic<uint32_t> tid;          // that ran it last
  std::atomic<uint32_t> obj;          // number of the vCPU
  std::atomic<uint32_t> vcpu;         // its index
  std::atomic<uint32_t> vm;           // number of the VM, 0 if unknown
  std::atomic<uint64_t> entered_ns;   // KVM_RUN is under way since; 0 if it is not
  std::atomic<uint64_t> returned_ns;  // KVM_RUN returned then, and was not entered again; 0 before and while it runs
  std::atomic<uint32_t> last_reason;  // index of the reason for that
  std::atomic<uint32_t> open;         // 1: `exit` is an exit that has no end yet
  std::atomic<uint64_t> runs;         // returns of KVM_RUN
  std::atomic<uint64_t> run_ns;       // time in KVM_RUN, those that returned
  std::atomic<uint64_t> count[64];    // returns by reason, [kExitOther], [kExitFailed]
  std::atomic<uint64_t> out_ns[64];   // time from these returns to the next entry, those that had one
  Record exit;                        // the open map-GPA-range or memory-fault exit
};

struct alignas(4096) RecordAreaHeader {
  uint64_t magic;
  uint32_t header_bytes;  // sizeof(RecordAreaHeader): another build's library refuses to attach
  uint32_t record_bytes;  // sizeof(Record)
  uint64_t ring_records;  // of each ring; a power of two
  uint64_t file_bytes;
  uint32_t block_when_full;                    // 0: drop
  std::atomic<uint32_t> stopped;               // the recorder has ended: record nothing more, wait for nothing
  std::atomic<uint32_t> processes;             // that attached
  std::atomic<uint32_t> objects;               // numbers of objects given out; the first object is 1
  std::atomic<uint64_t> dropped_without_slot;  // rows of threads that found no slot
  std::atomic<uint64_t> unreadable;  // calls whose fd could not be recognised or whose struct could not be read
};

constexpr size_t VcpuSlotsOffset() { return sizeof(RecordAreaHeader); }
constexpr size_t ThreadSlotsOffset() { return VcpuSlotsOffset() + sizeof(VcpuSlot) * kVcpuSlots; }
// Page aligned, so that a thread maps its own ring alone.
constexpr size_t RingOffset(uint32_t thread, uint64_t ring_records) {
  const size_t first = (ThreadSlotsOffset() + sizeof(ThreadSlot) * kThreadSlots + 4095) & ~size_t{4095};
  return first + static_cast<size_t>(thread) * static_cast<size_t>(ring_records) * kRecordBytes;
}

}  // namespace cvmtrace
