// The memory in which the guest program runs: the program itself, its descriptor and page tables, and for each vCPU a
// control block, a stack and a list of requests. One piece of host memory behind a slot of its own, always shared.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../guest/layout.h"
#include "objects.h"

namespace cvmtrace {

// Requests in a list, the end not counted. A longer batch is handed over in pieces.
inline constexpr size_t kListRequests = 1023;

// Selectors of the descriptor table.
inline constexpr uint16_t kCodeSelector = 0x08;
inline constexpr uint16_t kDataSelector = 0x10;

class GuestArea {
 public:
  // Bytes needed at `gpa` for that many vCPUs; 0 if that cannot be: `gpa` no multiple of the page size, no vCPU, or
  // more than 512 GiB to be mapped. All below the area's end is mapped, 4 KiB of tables per GiB.
  static uint64_t BytesFor(uint64_t gpa, size_t vcpus);

  // `host` is where the area is mapped here; at least BytesFor(gpa, vcpus), which is not 0.
  GuestArea(char* host, uint64_t gpa, size_t vcpus);

  // Writes everything that all vCPUs share. None may be running.
  void Write() const;

  uint64_t gpa() const { return gpa_; }
  uint64_t end() const { return gpa_ + bytes_; }
  uint64_t program() const { return gpa_; }
  uint64_t gdt() const { return gpa_ + kPageSize; }
  uint64_t idt() const { return gdt() + kGdtBytes; }
  uint64_t page_tables() const { return gpa_ + 2 * kPageSize; }

  // Of the vCPU in that place. The stack, which is the rest of the control block's page, grows down from its end.
  uint64_t control(size_t vcpu) const { return vcpus_gpa_ + vcpu * kVcpuBytes; }
  uint64_t stack_end(size_t vcpu) const { return control(vcpu) + kPageSize; }
  uint64_t list(size_t vcpu) const { return control(vcpu) + kPageSize; }
  GuestControl* host_control(size_t vcpu) const { return reinterpret_cast<GuestControl*>(Host(control(vcpu))); }
  GuestRequest* host_list(size_t vcpu) const { return reinterpret_cast<GuestRequest*>(Host(list(vcpu))); }

  static constexpr uint16_t kGdtBytes = 3 * 8;
  static constexpr uint16_t kIdtBytes = GUEST_EXCEPTIONS * 16;

  bool operator==(const GuestArea&) const = default;

 private:
  static constexpr uint64_t kVcpuBytes = kPageSize + (kListRequests + 1) * sizeof(GuestRequest);
  static_assert(kVcpuBytes % kPageSize == 0);

  char* Host(uint64_t gpa) const { return host_ + (gpa - gpa_); }
  void WriteDescriptors() const;
  void WritePageTables() const;

  char* host_;
  uint64_t gpa_;
  uint64_t bytes_;
  uint64_t gigabytes_;  // mapped, from gpa 0
  uint64_t vcpus_gpa_;
};

}  // namespace cvmtrace
