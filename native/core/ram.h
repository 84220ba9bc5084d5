// Host memory as a VMM makes it for the shared side of a guest.
#pragma once

#include <stdint.h>

#include <memory>

#include "objects.h"
#include "result.h"

namespace cvmtrace {

// As of RamFlag in native/native.ts.
namespace ram_flag {
inline constexpr uint64_t kMemfd = 1;
inline constexpr uint64_t kThp = 2;
inline constexpr uint64_t kHugetlb2m = 4;
inline constexpr uint64_t kAll = 7;
}  // namespace ram_flag

// `size` bytes, mapped read-write. EINVAL for unknown flags, or a size that is 0 or no multiple of the page size.
Result<std::unique_ptr<Object>> CreateRam(uint64_t size, uint64_t flags);

}  // namespace cvmtrace
