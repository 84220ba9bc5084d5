#include "fd_table.h"

#include "../core/clock.h"
#include "area.h"
#include "row.h"
#include "vcpu_run.h"

namespace cvmtrace::preload {
namespace {

// Memory only for what is used.
constinit std::atomic<uint32_t> entries[kMaxFds] = {};
constinit std::atomic<int> highest_fd = -1;

bool IsInTable(int fd) { return fd >= 0 && fd < kMaxFds; }

void NoteHighest(int fd) {
  int highest = highest_fd.load(std::memory_order_relaxed);
  while (fd > highest && !highest_fd.compare_exchange_weak(highest, fd, std::memory_order_relaxed)) {
  }
}

constexpr uint32_t kClosedWithRow = Bit(Kind::kVm) | Bit(Kind::kVcpu) | Bit(Kind::kGuestMemfd) | Bit(Kind::kContainer) |
                                    Bit(Kind::kDevice) | Bit(Kind::kIommufd);

}  // namespace

Entry EntryOf(int fd) { return IsInTable(fd) ? Entry::FromWord(entries[fd].load(std::memory_order_acquire)) : Entry(); }

Entry TakeEntry(int fd) {
  const Entry known = EntryOf(fd);
  if (!known.IsKnown()) return {};
  if (known.object() && SharesMemoryOfParent()) return {};
  return Entry::FromWord(entries[fd].exchange(0, std::memory_order_acq_rel));
}

void SetEntry(int fd, Entry entry) {
  if (!IsInTable(fd)) return Release(entry);
  // Without objects nobody is misled by the entry of a child that shares our memory.
  if ((EntryOf(fd).object() || entry.object()) && SharesMemoryOfParent()) return Release(entry);
  NoteHighest(fd);
  Release(Entry::FromWord(entries[fd].exchange(entry.word(), std::memory_order_acq_rel)));
}

Entry EnterObject(int fd, Kind kind, uint32_t index, uint32_t owner) {
  const uint32_t position = MakeObject(kind, index, owner);
  const Entry entry = position ? Entry(kind, position) : Entry();
  SetEntry(fd, entry);
  return entry;
}

Entry EnterRecognised(int fd, Kind kind, uint32_t index) {
  if (!IsInTable(fd) || SharesMemoryOfParent()) return {};
  uint32_t position = 0;
  if (kind != Kind::kOther && kind != Kind::kKvm) {
    position = MakeObject(kind, index);
    if (position == 0) return {};
  }
  const Entry entry(kind, position);
  uint32_t found = 0;
  NoteHighest(fd);
  if (entries[fd].compare_exchange_strong(found, entry.word(), std::memory_order_acq_rel)) return entry;
  if (position) DropReference(ObjectAt(position));
  return Entry::FromWord(found);
}

void Release(Entry entry, uint64_t start_ns, uint64_t end_ns) {
  Object* const object = entry.object();
  if (!object || !DropReference(*object)) return;
  if (object->kind == Kind::kVcpu) EndVcpu(*object);
  if (!(Bit(object->kind) & kClosedWithRow)) return;
  const bool seen = end_ns != 0;
  const uint64_t now = seen ? end_ns : NowNs();
  Row row(Op::close, seen ? start_ns : now, now, 0);
  row.Obj(object->number);
  if (object->kind == Kind::kVcpu) row.Vcpu(object->index);
  if (!seen) row.NoDuration();
  row.Write();
}

int HighestFd() { return highest_fd.load(std::memory_order_relaxed); }

}  // namespace cvmtrace::preload
