#include "guest_area.h"

#include <string.h>

namespace cvmtrace {
namespace {

constexpr uint64_t kGiB = 1ull << 30;
constexpr uint64_t kLargePage = 2ull << 20;
constexpr uint64_t kEntries = 512;

// Program, descriptors, PML4 and PDPT: one page each. One PDPT reaches 512 GiB.
constexpr uint64_t kFixedPages = 4;

// Page table entries: present, writable, accessed; a large page also dirty. Set in advance, as the processor would
// otherwise write to the tables when it first uses them.
constexpr uint64_t kTable = 0x23;
constexpr uint64_t kLeaf = 0xe3;

// Access byte and flags of a flat 64-bit code segment and of a data segment, both of ring 0 and accessed.
constexpr uint64_t kCodeDescriptor = 0x00af9b000000ffff;
constexpr uint64_t kDataDescriptor = 0x00cf93000000ffff;

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

uint64_t GuestArea::BytesFor(uint64_t gpa, size_t vcpus) {
  if (gpa % kPageSize != 0 || gpa >= kEntries * kGiB || vcpus == 0 || vcpus > UINT16_MAX) return 0;
  const uint64_t without_tables = kFixedPages * kPageSize + vcpus * kVcpuBytes;
  // The tables can push the end into another GiB, which needs one more.
  uint64_t bytes = without_tables;
  for (uint64_t before = 0; bytes != before;) {
    before = bytes;
    bytes = without_tables + RoundUp(gpa + bytes, kGiB) / kGiB * kPageSize;
  }
  return gpa + bytes <= kEntries * kGiB ? bytes : 0;
}

GuestArea::GuestArea(char* host, uint64_t gpa, size_t vcpus)
    : host_(host),
      gpa_(gpa),
      bytes_(BytesFor(gpa, vcpus)),
      gigabytes_(RoundUp(gpa + bytes_, kGiB) / kGiB),
      vcpus_gpa_(gpa + (kFixedPages + gigabytes_) * kPageSize) {}

void GuestArea::Write() const {
  memcpy(Host(program()), guest_program, static_cast<size_t>(guest_program_end - guest_program));
  WriteDescriptors();
  WritePageTables();
}

void GuestArea::WriteDescriptors() const {
  const uint64_t segments[] = {0, kCodeDescriptor, kDataDescriptor};
  static_assert(sizeof segments == kGdtBytes);
  memcpy(Host(gdt()), segments, sizeof segments);

  // Interrupt gates of 16 bytes: the handler's address in three parts, the code segment, and "present interrupt gate".
  auto* gate = reinterpret_cast<uint64_t*>(Host(idt()));
  for (uint64_t vector = 0; vector < GUEST_EXCEPTIONS; ++vector) {
    const uint64_t handler = program() + vector * GUEST_EXCEPTION_BYTES;
    *gate++ = (handler & 0xffff) | uint64_t{kCodeSelector} << 16 | 0x8eull << 40 | (handler >> 16 & 0xffff) << 48;
    *gate++ = handler >> 32;
  }
}

void GuestArea::WritePageTables() const {
  const uint64_t pml4 = page_tables();
  const uint64_t pdpt = pml4 + kPageSize;
  const uint64_t directories = pdpt + kPageSize;
  memset(Host(pml4), 0, 2 * kPageSize);
  *reinterpret_cast<uint64_t*>(Host(pml4)) = pdpt | kTable;
  for (uint64_t i = 0; i < gigabytes_; ++i) {
    reinterpret_cast<uint64_t*>(Host(pdpt))[i] = (directories + i * kPageSize) | kTable;
  }
  auto* const entries = reinterpret_cast<uint64_t*>(Host(directories));
  for (uint64_t i = 0; i < gigabytes_ * kEntries; ++i) entries[i] = i * kLargePage | kLeaf;
}

}  // namespace cvmtrace
