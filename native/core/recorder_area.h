// The recorder's side of the memory that recorded processes write to (native/preload/record_area.h).
#pragma once

#include <stdint.h>

#include <string>

#include "../preload/record_area.h"
#include "result.h"
#include "scoped_fd.h"
#include "scoped_map.h"

namespace cvmtrace {

// Bytes of a ring that can be asked for.
inline constexpr uint64_t kMinRingBytes = 4096;
inline constexpr uint64_t kMaxRingBytes = uint64_t{1} << 30;

// Makes and owns the memory: a memfd that cannot shrink below what a target has mapped, and an open file description
// lock on its first byte (fcntl(2), F_OFD_SETLK), by whose end targets see that the recorder is gone. A child that this
// process forks shares the lock until it executes a program.
class RecordArea {
 public:
  // `ring_bytes` between the limits above is rounded up to a power of two.
  static Result<RecordArea> Create(uint64_t ring_bytes, bool block_when_full);

  // What targets open: "/proc/PID/fd/N".
  const std::string& path() const { return path_; }
  // From this object's own memory, as a target may write over the header.
  uint64_t ring_records() const { return ring_records_; }

  RecordAreaHeader& header() const { return *reinterpret_cast<RecordAreaHeader*>(map_.data()); }
  VcpuSlot& vcpu(uint32_t index) const { return reinterpret_cast<VcpuSlot*>(map_.data() + VcpuSlotsOffset())[index]; }
  ThreadSlot& thread(uint32_t index) const {
    return reinterpret_cast<ThreadSlot*>(map_.data() + ThreadSlotsOffset())[index];
  }
  Record* ring(uint32_t thread) const {
    return reinterpret_cast<Record*>(map_.data() + RingOffset(thread, ring_records_));
  }

  // Gives the memory of a ring back to the system; it reads as zeros after.
  void ReleaseRing(uint32_t thread) const;

 private:
  RecordArea(ScopedFd fd, ScopedMap map, uint64_t ring_records, std::string path)
      : fd_(std::move(fd)), map_(std::move(map)), ring_records_(ring_records), path_(std::move(path)) {}

  ScopedFd fd_;
  ScopedMap map_;
  uint64_t ring_records_;
  std::string path_;
};

}  // namespace cvmtrace
