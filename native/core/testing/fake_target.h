// What a recorded process writes, written by hand.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include "../../preload/record_area.h"
#include "../clock.h"

namespace cvmtrace {

// A call as a row: `op` on `gpa`, begun at `ts_ns`.
inline Record CallRecord(Op op, uint64_t ts_ns, uint64_t gpa = 0) {
  Record record{};
  record.op = op;
  record.ts_ns = ts_ns;
  record.dur_ns = 10;
  record.gpa = gpa;
  record.present = kHasGpa | kHasDur;
  return record;
}

// A thread of a target in the area that begins at `base`.
class FakeThread {
 public:
  FakeThread(char* base, uint32_t index, uint32_t pid, uint32_t tid)
      : header_(*reinterpret_cast<RecordAreaHeader*>(base)),
        slot_(reinterpret_cast<ThreadSlot*>(base + ThreadSlotsOffset())[index]),
        ring_(reinterpret_cast<Record*>(base + RingOffset(index, header_.ring_records))) {
    slot_.tid.store(tid);
    slot_.pid.store(pid);
    slot_.head.store(slot_.tail.load());
    slot_.state.store(kSlotClaimed);
  }

  ThreadSlot& slot() { return slot_; }

  // False if there is no room.
  bool Write(const Record& record) {
    const uint64_t head = slot_.head.load();
    if (head - slot_.tail.load() >= header_.ring_records) {
      slot_.dropped.fetch_add(1);
      return false;
    }
    ring_[head % header_.ring_records] = record;
    slot_.head.store(head + 1);
    return true;
  }

  // An exit to user space begins now; returns when that is.
  uint64_t OpenExit(VcpuSlot& vcpu, uint64_t gpa) {
    Record exit = CallRecord(Op::exit_map_gpa_range, NowNs(), gpa);
    exit.present = kHasGpa;
    vcpu.exit = exit;
    slot_.exit_open_ns.store(exit.ts_ns);
    vcpu.open.store(1);
    return exit.ts_ns;
  }

  // The guest runs again.
  void CloseExit(VcpuSlot& vcpu) {
    Record exit = vcpu.exit;
    exit.dur_ns = NowNs() - exit.ts_ns;
    exit.present |= kHasDur;
    Write(exit);
    slot_.exit_open_ns.store(0);
    vcpu.open.store(0);
  }

 private:
  RecordAreaHeader& header_;
  ThreadSlot& slot_;
  Record* ring_;
};

// Claims the slot of a vCPU with number `obj`.
inline VcpuSlot& ClaimVcpu(char* base, uint32_t index, uint32_t pid, uint32_t tid, uint32_t obj) {
  VcpuSlot& slot = reinterpret_cast<VcpuSlot*>(base + VcpuSlotsOffset())[index];
  slot.pid.store(pid);
  slot.tid.store(tid);
  slot.vcpu.store(index);
  slot.state.store(kSlotClaimed);
  slot.obj.store(obj);
  return slot;
}

inline uint32_t OwnPid() { return static_cast<uint32_t>(::getpid()); }
inline uint32_t OwnTid() { return static_cast<uint32_t>(::syscall(SYS_gettid)); }

}  // namespace cvmtrace
