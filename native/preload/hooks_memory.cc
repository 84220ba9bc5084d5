// fallocate and madvise on the memory of a guest, and the shared mappings of it.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "../core/clock.h"
#include "area.h"
#include "calls.h"
#include "libc_call.h"
#include "mappings.h"
#include "raw_call.h"
#include "recognise.h"
#include "row.h"

namespace cvmtrace::preload {

constinit LibcFunction<int(int, int, off_t, off_t)> libc_fallocate("fallocate");

void ResolveMemoryCalls() { libc_fallocate.get(); }

namespace {

constexpr uint64_t kPageBytes = 4096;

constexpr int kAllocate = FALLOC_FL_KEEP_SIZE;
constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

// The name says the mode, another one is in the flags.
Row FallocateRow(bool of_guest_memfd, int mode, uint64_t start_ns, uint64_t end_ns, long returned) {
  const bool punch = mode & FALLOC_FL_PUNCH_HOLE;
  const Op op = of_guest_memfd ? (punch ? Op::gmem_punch_hole : Op::gmem_allocate)
                               : (punch ? Op::ram_punch_hole : Op::ram_allocate);
  Row row(op, start_ns, end_ns, returned);
  if (mode != (punch ? kPunch : kAllocate)) row.Flags(static_cast<uint32_t>(mode));
  return row;
}

// Advice that changes what memory there is, or how it will come. glibc's posix_madvise() passes on none of these.
bool IsRecorded(int advice) {
  constexpr int kDontNeedLocked = 24;  // MADV_DONTNEED_LOCKED, Linux 5.18
  switch (advice) {
    case MADV_DONTNEED:
    case MADV_REMOVE:
    case MADV_FREE:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case kDontNeedLocked:
      return true;
    default:
      return false;
  }
}

bool IsShared(int flags) {
  const int type = flags & MAP_TYPE;
  return (type == MAP_SHARED || type == MAP_SHARED_VALIDATE) && !(flags & MAP_ANONYMOUS);
}

bool ReplacesMappings(int flags) { return (flags & MAP_FIXED) && !(flags & MAP_FIXED_NOREPLACE); }

constexpr uint32_t kMappable = Bit(Kind::kMemory) | Bit(Kind::kGuestMemfd);

}  // namespace

long Fallocate(int fd, int mode, off_t offset, off_t length) {
  if (!Recording()) return libc_fallocate(fd, mode, offset, length);
  const Entry entry = Lookup(fd);
  if (!(Bit(entry.kind()) & kMappable)) return libc_fallocate(fd, mode, offset, length);
  const uint64_t start = NowNs();
  const long returned = libc_fallocate(fd, mode, offset, length);
  const uint64_t end = NowNs();
  const int error = returned < 0 ? errno : 0;
  // Closed behind our back, and perhaps another file now.
  if (error == EBADF || error == ENODEV || error == ESPIPE) {
    if (RecogniseAgain(fd).word() != entry.word()) {
      errno = error;
      return returned;
    }
  }
  Row row = FallocateRow(entry.kind() == Kind::kGuestMemfd, mode, start, end, -error);
  row.Obj(entry.number());
  row.Offset(static_cast<uint64_t>(offset));
  row.Len(static_cast<uint64_t>(length));
  row.Write();
  return returned;
}

// Only where a guest is: elsewhere it is the allocator's housekeeping.
long Madvise(void* start, size_t length, int advice) {
  if (!IsRecorded(advice) || length < kPageBytes || !Recording() || !DrivesGuest()) {
    return FinishCall(RawCall(SYS_madvise, start, length, advice));
  }
  const uint64_t start_ns = NowNs();
  const long returned = RawCall(SYS_madvise, start, length, advice);
  Row row(Op::ram_madvise, start_ns, NowNs(), returned);
  const auto hva = reinterpret_cast<uint64_t>(start);
  const Mapping mapping = FindMapping(hva, length);
  if (mapping.number && mapping.start == hva) {
    row.Obj(mapping.number);
    row.Offset(mapping.offset);
  }
  row.Hva(hva);
  row.Len(length);
  row.Flags(static_cast<uint32_t>(advice));
  row.Write();
  return FinishCall(returned);
}

long Mmap(void* start, size_t length, int protection, int flags, int fd, off_t offset) {
  const auto map = [&] { return RawCall(SYS_mmap, start, length, protection, flags, fd, offset); };
  const bool replaces = ReplacesMappings(flags);
  if ((!IsShared(flags) && !replaces) || !Recording()) return FinishCall(map());
  Entry entry = IsShared(flags) ? Lookup(fd) : Entry();
  const uint64_t start_ns = NowNs();
  const long returned = map();
  const uint64_t end_ns = NowNs();
  if (!IsError(returned) && replaces) CutMappings(static_cast<uint64_t>(returned), length);
  if (!IsShared(flags)) return FinishCall(returned);
  // A file of any file system is memory if somebody maps it to write to it.
  if (entry.kind() == Kind::kOther && !IsError(returned) && (protection & PROT_WRITE)) entry = EnterMappedFile(fd);
  if (!(Bit(entry.kind()) & kMappable) || returned == -EBADF) return FinishCall(returned);
  Row row(Op::mmap, start_ns, end_ns, IsError(returned) ? returned : 0);
  row.Obj(entry.number());
  row.Offset(static_cast<uint64_t>(offset));
  row.Len(length);
  row.Attrs(static_cast<uint32_t>(protection));
  row.Flags(static_cast<uint32_t>(flags));
  if (!IsError(returned)) {
    const auto hva = static_cast<uint64_t>(returned);
    row.Hva(hva);
    AddMapping({entry.number(), hva, length, static_cast<uint64_t>(offset)});
  }
  row.Write();
  return FinishCall(returned);
}

// A row for each mapping of a memory file in the range, of the part that is in it.
long Munmap(void* start, size_t length) {
  const auto hva = reinterpret_cast<uint64_t>(start);
  if (!Recording() || !FindMapping(hva, length).number) return FinishCall(RawCall(SYS_munmap, start, length));
  const uint64_t start_ns = NowNs();
  // Cut before: afterwards the addresses can already be another thread's mapping.
  constexpr size_t kMost = 8;
  Mapping mappings[kMost];
  size_t count = 0;
  for (uint64_t from = hva; count < kMost && from < hva + length; ++count) {
    const Mapping mapping = FindMapping(from, hva + length - from);
    if (!mapping.number) break;
    mappings[count] = mapping;
    from = mapping.start + mapping.length;
  }
  CutMappings(hva, length);
  const long returned = RawCall(SYS_munmap, start, length);
  const uint64_t end_ns = NowNs();
  for (size_t i = 0; i < count; ++i) {
    if (IsError(returned)) AddMapping(mappings[i]);
    Row row(Op::munmap, start_ns, end_ns, returned);
    row.Obj(mappings[i].number);
    row.Hva(mappings[i].start);
    row.Len(mappings[i].length);
    row.Offset(mappings[i].offset);
    row.Write();
  }
  return FinishCall(returned);
}

}  // namespace cvmtrace::preload

using namespace cvmtrace::preload;

CVMTRACE_INTERPOSED int fallocate(int fd, int mode, off_t offset, off_t length) {
  return static_cast<int>(Fallocate(fd, mode, offset, length));
}
CVMTRACE_INTERPOSED int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  return static_cast<int>(Fallocate(fd, mode, offset, length));
}
CVMTRACE_INTERPOSED int madvise(void* start, size_t length, int advice) noexcept {
  return static_cast<int>(Madvise(start, length, advice));
}
CVMTRACE_INTERPOSED void* mmap(void* start, size_t length, int protection, int flags, int fd, off_t offset) noexcept {
  return reinterpret_cast<void*>(Mmap(start, length, protection, flags, fd, offset));
}
CVMTRACE_INTERPOSED void* mmap64(void* start, size_t length, int protection, int flags, int fd,
                                 off64_t offset) noexcept {
  return reinterpret_cast<void*>(Mmap(start, length, protection, flags, fd, offset));
}
CVMTRACE_INTERPOSED int munmap(void* start, size_t length) noexcept { return static_cast<int>(Munmap(start, length)); }
