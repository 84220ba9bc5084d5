// Rows on their way to the recorder: one ring for each thread, written without a lock or a system call.
#pragma once

#include <atomic>

#include "area.h"
#include "record_area.h"

namespace cvmtrace::preload {

// A thread's slot and its ring as this process maps it.
struct Ring {
  ThreadSlot* slot;
  Record* records;
  // Of the process that claimed it: a child inherits what is its parent's.
  uint64_t generation;
  // The recorder's tail when it was last looked at, so that its cache line is not needed for each row.
  uint64_t known_tail;
  // Rows with a place, ahead of the slot's head while one is written.
  std::atomic<uint64_t> reserved;
  // Stack frame and time of the outermost WriteRecord() that is under way; 0: none is.
  std::atomic<uintptr_t> writing;
  uint64_t writing_since_ns;
};

struct Thread {
  // nullptr: none yet, or none was free. In one word, so that a signal's handler finds all of a ring or nothing.
  std::atomic<Ring*> ring;
  uint32_t misses;
  // Exits of vCPUs that this thread has to answer, and 1 + the index of the last one's vCPU.
  uint32_t open_exits;
  uint32_t exit_vcpu;
};
extern constinit thread_local Thread thread __attribute__((tls_model("initial-exec")));

// Makes the key whose destructor gives a thread's slot back; from the constructor of the library.
void PrepareThreads();

// The calling thread's slot, claimed at its first row; nullptr if none is free. Only while Recording().
ThreadSlot* OwnSlot();
// In a new child: what the thread had to do with its parent's vCPUs is not its own.
void ForgetParentsThread();

// Adds a row. Async-signal-safe; errno stays. With a full ring it waits or counts, as the recorder asked.
void WriteRecord(const Record& record);

}  // namespace cvmtrace::preload
