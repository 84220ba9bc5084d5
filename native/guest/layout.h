// What the guest program (program.S) and the VMM (core/guest_*) agree on. Assembled and compiled: macros first, then
// the same as structs.
#pragma once

// Ports that the guest writes to when it needs the host.
#define GUEST_PORT_END 0x600        // the list is done
#define GUEST_PORT_HOST 0x601       // the host's turn: what follows is not the guest's
#define GUEST_PORT_EXCEPTION 0x602  // an exception, in the control block

// One exception is one stub of the program, at 16 * vector.
#define GUEST_EXCEPTIONS 32
#define GUEST_EXCEPTION_BYTES 16

// Kinds of requests.
#define GUEST_END 0
#define GUEST_MAP_GPA_RANGE 1
#define GUEST_READ 2
#define GUEST_WRITE 3
#define GUEST_HOST 4

// When a request is due.
#define GUEST_AT_ONCE 0
#define GUEST_RELATIVE 1  // ticks after the guest came to it; the guest puts the time in its place
#define GUEST_ABSOLUTE 2  // TSC

// Offsets in a request.
#define REQUEST_KIND 0
#define REQUEST_PACING 4
#define REQUEST_GPA 8
#define REQUEST_PAGES 16
#define REQUEST_ATTRS 24
#define REQUEST_DUE 32
#define REQUEST_ANSWER 40
#define REQUEST_START 48
#define REQUEST_END 56
#define REQUEST_BYTES 64

// Offsets in a vCPU's control block, at its GS base.
#define CONTROL_LIST 0
#define CONTROL_CURRENT 8
#define CONTROL_USE_VMCALL 16
#define CONTROL_VECTOR 24
#define CONTROL_ERROR_CODE 32
#define CONTROL_RIP 40
#define CONTROL_CR2 48

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <stdint.h>

namespace cvmtrace {

// One request in the list of a vCPU. The guest writes the last three, and `due` if that was relative.
struct GuestRequest {
  uint32_t kind;
  uint32_t pacing;
  uint64_t gpa;     // page-aligned for touches; as it is for the hypercall
  uint64_t pages;   // of 4 KiB, at least 1
  uint64_t attrs;   // third argument of the hypercall
  int64_t due;      // TSC
  uint64_t answer;  // of the hypercall
  int64_t start;    // TSC when it was due and began
  int64_t end;      // TSC
};
static_assert(sizeof(GuestRequest) == REQUEST_BYTES);
static_assert(offsetof(GuestRequest, kind) == REQUEST_KIND && offsetof(GuestRequest, pacing) == REQUEST_PACING);
static_assert(offsetof(GuestRequest, gpa) == REQUEST_GPA && offsetof(GuestRequest, pages) == REQUEST_PAGES);
static_assert(offsetof(GuestRequest, attrs) == REQUEST_ATTRS && offsetof(GuestRequest, due) == REQUEST_DUE);
static_assert(offsetof(GuestRequest, answer) == REQUEST_ANSWER && offsetof(GuestRequest, start) == REQUEST_START);
static_assert(offsetof(GuestRequest, end) == REQUEST_END);

struct GuestControl {
  uint64_t list;        // gpa of the first request
  uint64_t current;     // gpa of the request that the guest is at
  uint64_t use_vmcall;  // 1: vmcall (Intel), 0: vmmcall (AMD)
  uint64_t vector;      // of the exception, with what the processor said about it
  uint64_t error_code;
  uint64_t rip;
  uint64_t cr2;
};
static_assert(offsetof(GuestControl, list) == CONTROL_LIST && offsetof(GuestControl, current) == CONTROL_CURRENT);
static_assert(offsetof(GuestControl, use_vmcall) == CONTROL_USE_VMCALL);
static_assert(offsetof(GuestControl, vector) == CONTROL_VECTOR);
static_assert(offsetof(GuestControl, error_code) == CONTROL_ERROR_CODE);
static_assert(offsetof(GuestControl, rip) == CONTROL_RIP && offsetof(GuestControl, cr2) == CONTROL_CR2);

}  // namespace cvmtrace

// The program, as data of the host: it is copied to where the guest runs it.
extern "C" {
extern const char guest_program[];
extern const char guest_program_entry[];         // begins with the list
extern const char guest_program_next_request[];  // gives up the request that it is at
extern const char guest_program_end[];
}

#endif
