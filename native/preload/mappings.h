// Shared mappings of memory files and guest_memfds, so that what is done to an address is known to be done to a file.
// Not seen: mremap(), mappings made before the library recorded, more than some thousand at a time.
#pragma once

#include "objects.h"

namespace cvmtrace::preload {

struct Mapping {
  uint32_t number;  // of the file, 0 if there is none there
  uint64_t start, length;
  uint64_t offset;  // in the file, of `start`
};

// [start, start + length) maps the file `number` from `offset`.
void AddMapping(const Mapping& mapping);

// The mapping with the lowest address that [start, start + length) overlaps, cut to that range.
Mapping FindMapping(uint64_t start, uint64_t length);

// What of mappings lies in the range is no longer mapped.
void CutMappings(uint64_t start, uint64_t length);

}  // namespace cvmtrace::preload
