// What is known of each descriptor of this process. An entry is only as good as what the library has seen: a descriptor
// that was closed by a raw system call and used again is noticed when the kernel answers what its old kind would not.
#pragma once

#include "objects.h"

namespace cvmtrace::preload {

class Entry {
 public:
  constexpr Entry() = default;
  constexpr Entry(Kind kind, uint32_t position) : word_(static_cast<uint32_t>(kind) << kShift | position) {}
  static constexpr Entry FromWord(uint32_t word) {
    Entry entry;
    entry.word_ = word;
    return entry;
  }

  constexpr uint32_t word() const { return word_; }
  constexpr Kind kind() const { return static_cast<Kind>(word_ >> kShift); }
  constexpr bool IsKnown() const { return word_ != 0; }
  // nullptr for a kind that has no numbers.
  Object* object() const { return word_ & kPosition ? &ObjectAt(word_ & kPosition) : nullptr; }
  uint32_t number() const { return word_ & kPosition ? ObjectAt(word_ & kPosition).number : 0; }

 private:
  static constexpr uint32_t kShift = 28;
  static constexpr uint32_t kPosition = (1u << kShift) - 1;
  uint32_t word_ = 0;
};

// Descriptors from here on are never recognised; Linux allows so many by default (fs.nr_open).
inline constexpr int kMaxFds = 1 << 20;

Entry EntryOf(int fd);
// Takes the entry out, before the descriptor is closed: afterwards its number may already be another file's. Nothing in
// a child that shares its parent's memory and not its descriptors, whose table this is not.
Entry TakeEntry(int fd);
// The descriptor was returned by a call: what it is now, and with a reference of its own. What it was before was closed
// behind our back.
void SetEntry(int fd, Entry entry);
inline void ForgetFd(int fd) {
  if (EntryOf(fd).IsKnown()) SetEntry(fd, {});
}
// Makes an object of this kind and enters it; unknown if there is no place for it.
Entry EnterObject(int fd, Kind kind, uint32_t index = kNoIndex, uint32_t owner = 0);
// Enters what an unknown descriptor was found to be. The entry that is there in the end: another thread may have been
// first.
Entry EnterRecognised(int fd, Kind kind, uint32_t index);

// Drops the reference of an entry that was taken out; with the last one goes a `close` row, of a call that took from
// `start_ns` to `end_ns`, or was not seen (0).
void Release(Entry entry, uint64_t start_ns = 0, uint64_t end_ns = 0);

// Highest descriptor that has ever been known, for closing ranges.
int HighestFd();

}  // namespace cvmtrace::preload
