// What the guest's memory holds, read as a processor would.
#include "guest_area.h"

#include <sys/mman.h>

#include "scoped_map.h"
#include "testing/tap.h"

namespace cvmtrace {
namespace {

constexpr uint64_t kGiB = 1ull << 30;

struct MappedArea {
  ScopedMap map;
  GuestArea area;

  uint64_t Read(uint64_t gpa) const { return *reinterpret_cast<const uint64_t*>(map.data() + (gpa - area.gpa())); }
};

MappedArea MakeArea(uint64_t gpa, size_t vcpus) {
  const uint64_t bytes = GuestArea::BytesFor(gpa, vcpus);
  ScopedMap map(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), bytes);
  GuestArea area(map.data(), gpa, vcpus);
  area.Write();
  return {std::move(map), area};
}

// Address to which a 4-level walk leads, or UINT64_MAX.
uint64_t Translate(const MappedArea& mapped, uint64_t address) {
  uint64_t table = mapped.area.page_tables();
  for (int level = 4; level >= 2; --level) {
    const uint64_t entry = mapped.Read(table + 8 * (address >> (12 + 9 * (level - 1)) & 511));
    if (!(entry & 1)) return UINT64_MAX;
    table = entry & 0x000ffffffffff000;
    if (level == 2) return (entry & 0x80) ? table + address % (2 << 20) : UINT64_MAX;
  }
  return UINT64_MAX;
}

TEST("all below the end of the area is mapped to itself, and no more than the GiB that it ends in") {
  for (const uint64_t gpa : {uint64_t{0}, 3 * kGiB, 4 * kGiB - kPageSize, 300 * kGiB + kPageSize}) {
    const MappedArea mapped = MakeArea(gpa, 3);
    const GuestArea& area = mapped.area;
    for (const uint64_t address : {uint64_t{0}, uint64_t{0x1234567}, area.gpa(), area.end() - 1}) {
      CHECK(Translate(mapped, address) == address);
    }
    CHECK(Translate(mapped, (area.end() + kGiB - 1) / kGiB * kGiB) == UINT64_MAX);
  }
}

TEST("parts of the area do not overlap, and end where it ends") {
  const MappedArea mapped = MakeArea(5 * kGiB, 2);
  const GuestArea& area = mapped.area;
  CHECK(area.program() + static_cast<uint64_t>(guest_program_end - guest_program) <= area.gdt());
  CHECK(area.gdt() + GuestArea::kGdtBytes <= area.idt());
  CHECK(area.idt() + GuestArea::kIdtBytes <= area.page_tables());
  CHECK(area.page_tables() + (2 + 6) * kPageSize == area.control(0));
  CHECK(area.control(0) + sizeof(GuestControl) < area.stack_end(0) && area.stack_end(0) == area.list(0));
  CHECK(area.list(0) + (kListRequests + 1) * sizeof(GuestRequest) == area.control(1));
  CHECK(area.list(1) + (kListRequests + 1) * sizeof(GuestRequest) == area.end());
  CHECK(area.end() - area.gpa() == GuestArea::BytesFor(5 * kGiB, 2));
}

TEST("each exception leads to its stub, by a gate that is present") {
  const MappedArea mapped = MakeArea(300 * kGiB, 1);
  const GuestArea& area = mapped.area;
  for (uint64_t vector = 0; vector < GUEST_EXCEPTIONS; ++vector) {
    const uint64_t low = mapped.Read(area.idt() + vector * 16);
    const uint64_t high = mapped.Read(area.idt() + vector * 16 + 8);
    CHECK(((low & 0xffff) | (low >> 48 & 0xffff) << 16 | high << 32) == area.program() + vector * 16);
    CHECK((low >> 16 & 0xffff) == kCodeSelector && (low >> 40 & 0xff) == 0x8e);
    // push vector; after push 0 where the processor pushes no error code.
    const auto* const stub = reinterpret_cast<const unsigned char*>(guest_program) + vector * 16;
    const bool has_error_code =
        vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30;
    const size_t at = has_error_code ? 0 : 2;
    CHECK(has_error_code || (stub[0] == 0x6a && stub[1] == 0));
    CHECK(stub[at] == 0x6a && stub[at + 1] == vector);
  }
}

TEST("the tables that the area needs count towards its end") {
  CHECK(GuestArea::BytesFor(0, 1) % kPageSize == 0);
  // Ends exactly at 4 GiB with four tables; one page on it needs a fifth.
  const uint64_t bytes = GuestArea::BytesFor(kGiB, 1) + 2 * kPageSize;
  CHECK(GuestArea::BytesFor(4 * kGiB - bytes, 1) == bytes);
  CHECK(GuestArea::BytesFor(4 * kGiB - bytes + kPageSize, 1) == bytes + kPageSize);
  CHECK(GuestArea::BytesFor(512 * kGiB - kPageSize, 1) == 0);
  CHECK(GuestArea::BytesFor(UINT64_MAX - kPageSize + 1, 1) == 0);
}

}  // namespace
}  // namespace cvmtrace

TAP_MAIN()
