// What a descriptor is that nobody saw being made: inherited, received, or opened by a call that the library does not
// see. Its link in /proc/self/fd says it.
#pragma once

#include "fd_table.h"

namespace cvmtrace::preload {

// A kind and the number in its name.
struct Named {
  Kind kind = Kind::kOther;
  uint32_t index = kNoIndex;
};

// By the path of a device, as given to open().
Named NameOfDevice(const char* path);

// What is known of the descriptor; one that is unknown is looked at, once. Unknown if it cannot be.
Entry Recognise(int fd);
inline Entry Lookup(int fd) {
  const Entry entry = EntryOf(fd);
  return entry.IsKnown() ? entry : Recognise(fd);
}

// Looks again, as the kernel did not answer as it would for what is known. Keeps the entry if it may be right.
Entry RecogniseAgain(int fd);

// Enters a regular file as memory, as it was mapped shared.
Entry EnterMappedFile(int fd);

}  // namespace cvmtrace::preload
