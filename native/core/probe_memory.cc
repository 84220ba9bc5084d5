// Host memory: memfd, transparent and reserved huge pages, cachestat.
#include <sys/mman.h>

#include "probe.h"
#include "ram.h"
#include "residency.h"
#include "touch.h"

namespace cvmtrace {
namespace {

constexpr uint64_t kTrialSize = 2u << 20;

// Makes memory and writes to its first page, which is when a huge page is really taken.
std::unique_ptr<Object> ProbeRam(ProbeLog& log, const char* key, uint64_t flags, const char* call) {
  auto ram = CreateRam(kTrialSize, flags);
  if (!ram) {
    log.NoteError(key, ram.error().call, ram.error().code);
    return nullptr;
  }
  const std::atomic<bool> cancelled{false};
  const Touched touched = TouchPages(ram.value()->map.data(), 1, true, cancelled);
  log.NoteError(key, touched.error ? "write to a mapped page" : call, touched.error);
  return touched.error ? nullptr : std::move(ram).value();
}

}  // namespace

void ProbeMemory(ProbeLog& log) {
  const auto memfd = ProbeRam(log, "memory.memfd", ram_flag::kMemfd, "memfd_create");
  ProbeRam(log, "memory.thp", ram_flag::kThp, "madvise(MADV_HUGEPAGE)");
  ProbeRam(log, "memory.hugetlb_2m", ram_flag::kMemfd | ram_flag::kHugetlb2m, "memfd_create(MFD_HUGETLB)");
  if (!memfd) return;
  const auto bytes = ResidentBytes(memfd.get());
  log.NoteError("memory.cachestat", "cachestat", bytes ? 0 : bytes.error().code,
                bytes ? std::optional(static_cast<int64_t>(bytes.value() / kPageSize)) : std::nullopt);
}

}  // namespace cvmtrace
