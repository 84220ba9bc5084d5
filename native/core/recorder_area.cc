#include "recorder_area.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

namespace cvmtrace {

Result<RecordArea> RecordArea::Create(uint64_t ring_bytes, bool block_when_full) {
  const uint64_t ring_records = std::bit_ceil(std::clamp(ring_bytes, kMinRingBytes, kMaxRingBytes)) / kRecordBytes;
  const size_t file_bytes = RingOffset(kThreadSlots, ring_records);
  ScopedFd fd(::memfd_create("cvmtrace-record", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return LastError("memfd_create");
  if (::ftruncate(fd.get(), static_cast<off_t>(file_bytes)) != 0) return LastError("ftruncate");
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return LastError("fcntl(F_ADD_SEALS)");
  }
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) return LastError("fcntl(F_OFD_SETLK)");
  // The whole of it, most of which is never touched.
  ScopedMap map(::mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0),
                file_bytes);
  if (!map) return LastError("mmap");

  std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd.get());
  RecordArea area(std::move(fd), std::move(map), ring_records, std::move(path));
  RecordAreaHeader& header = area.header();
  header.magic = kRecordAreaMagic;
  header.header_bytes = sizeof(RecordAreaHeader);
  header.record_bytes = sizeof(Record);
  header.ring_records = ring_records;
  header.file_bytes = file_bytes;
  header.block_when_full = block_when_full;
  return area;
}

void RecordArea::ReleaseRing(uint32_t thread) const {
  ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              static_cast<off_t>(RingOffset(thread, ring_records_)), static_cast<off_t>(ring_records_ * kRecordBytes));
}

}  // namespace cvmtrace
