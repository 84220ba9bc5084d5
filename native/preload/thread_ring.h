// Rows on their way to the recorder: one ring for each thread, written without a lock or a system call.
#pragma once

#include <atomic>

#include "area.h"
#include "record_area.h"

namespace cvmtrace::preload {

struct Thread {
  // That of the process when the slot was claimed; 0: never.
  uint64_t generation;
  // nullptr: none was free.
  ThreadSlot* slot;
  Record* ring;
  // The recorder's tail when it was last looked at, so that its cache line is not needed for each row.
  uint64_t known_tail;
  // Rows with a place, ahead of the slot's head while one is written.
  std::atomic<uint64_t> reserved;
  // Stack frame and time of the outermost WriteRecord() that is under way; 0: none is.
  std::atomic<uintptr_t> writing;
  uint64_t writing_since_ns;
  // Exits of vCPUs that this thread has to answer, and 1 + the index of the last one's vCPU.
  uint32_t open_exits;
  uint32_t exit_vcpu;
  uint32_t rows_without_slot;
};
extern constinit thread_local Thread thread __attribute__((tls_model("initial-exec")));

// Makes the key whose destructor gives a thread's slot back; from the constructor of the library.
void PrepareThreads();

// The calling thread's slot, claimed at its first row; nullptr if none is free. Only while Recording().
ThreadSlot* OwnSlot();

// Adds a row. Async-signal-safe; errno stays. With a full ring it waits or counts, as the recorder asked.
void WriteRecord(const Record& record);

}  // namespace cvmtrace::preload
