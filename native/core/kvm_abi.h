// KVM's structs and numbers for private memory: the kernel header's where it has them, else our own. Debian 12's
// linux-libc-dev is of Linux 6.1; guest_memfd, REGION2 and memory attributes came with 6.8, mmap of guest_memfd
// with 6.18 (Documentation/virt/kvm/api.rst).
#pragma once

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

namespace cvmtrace {

// Same layout as the structs of linux/kvm.h, under our own names so that either header compiles.
struct KvmUserspaceMemoryRegion2 {
  uint32_t slot;
  uint32_t flags;
  uint64_t guest_phys_addr;
  uint64_t memory_size;
  uint64_t userspace_addr;
  uint64_t guest_memfd_offset;
  uint32_t guest_memfd;
  uint32_t pad1;
  uint64_t pad2[14];
};
static_assert(sizeof(KvmUserspaceMemoryRegion2) == 160);

struct KvmMemoryAttributes {
  uint64_t address;
  uint64_t size;
  uint64_t attributes;
  uint64_t flags;
};
static_assert(sizeof(KvmMemoryAttributes) == 32);

// The in-place conversion series' ioctl on a guest_memfd; not in a released kernel yet. It shares its number with
// KVM_SET_MEMORY_ATTRIBUTES and differs by direction and size, so a kernel without it says ENOTTY.
struct KvmMemoryAttributes2 {
  uint64_t offset;
  uint64_t size;
  uint64_t attributes;
  uint64_t flags;
  uint64_t error_offset;
  uint64_t reserved[11];
};
static_assert(sizeof(KvmMemoryAttributes2) == 128);

struct KvmCreateGuestMemfd {
  uint64_t size;
  uint64_t flags;
  uint64_t reserved[6];
};
static_assert(sizeof(KvmCreateGuestMemfd) == 64);
static_assert(sizeof(kvm_userspace_memory_region) == 32);

// Linux 6.11.
struct KvmPreFaultMemory {
  uint64_t gpa;
  uint64_t size;
  uint64_t flags;
  uint64_t padding[5];
};
static_assert(sizeof(KvmPreFaultMemory) == 64);

// In C++ some kernel headers give a flexible array member an offset of its own, which makes these structs and the
// numbers of their ioctls wrong.
struct KvmCpuid2 {
  static constexpr uint32_t kEntries = 256;  // KVM_MAX_CPUID_ENTRIES
  uint32_t nent;
  uint32_t padding;
  kvm_cpuid_entry2 entries[kEntries];
};
static_assert(offsetof(KvmCpuid2, entries) == 8 && sizeof(kvm_cpuid_entry2) == 40);
struct KvmSignalMask {
  uint32_t len;  // 8: the kernel's own size, not that of sigset_t
  uint8_t sigset[8];
};
static_assert(offsetof(KvmSignalMask, sigset) == 4 && sizeof(KvmSignalMask) == 12);
inline constexpr unsigned long kKvmSetSignalMask = 0x4004ae8b;
inline constexpr unsigned long kKvmGetSupportedCpuid = 0xc008ae05;
inline constexpr unsigned long kKvmSetCpuid2 = 0x4008ae90;

// What kvm_run holds with KVM_EXIT_MEMORY_FAULT, Linux 6.8.
struct KvmMemoryFault {
  uint64_t flags;
  uint64_t gpa;
  uint64_t size;
};

inline KvmMemoryFault MemoryFaultOf(const kvm_run& run) {
  // In the union of all exits, of which an older header does not have this one.
  KvmMemoryFault fault;
  memcpy(&fault, reinterpret_cast<const char*>(&run) + offsetof(kvm_run, hypercall), sizeof fault);
  return fault;
}

// KVM_MEMORY_ENCRYPT_OP of SEV-SNP, Linux 6.11 (struct kvm_sev_cmd, kvm_sev_init) ...
inline constexpr uint32_t kSevInit2 = 22;
struct KvmSevCommand {
  uint32_t id;
  uint32_t pad;
  uint64_t data;
  uint32_t error;  // of the firmware
  uint32_t sev_fd;
};
static_assert(sizeof(KvmSevCommand) == 24);
struct KvmSevInit {
  uint64_t vmsa_features;
  uint32_t flags;
  uint16_t ghcb_version;
  uint16_t pad1;
  uint32_t pad2[8];
};
static_assert(sizeof(KvmSevInit) == 48);

// ... and of TDX, Linux 6.16 (struct kvm_tdx_cmd, kvm_tdx_capabilities, kvm_tdx_init_vm). Both end with a kvm_cpuid2.
inline constexpr uint64_t kVmTypeTdx = 5;
inline constexpr uint32_t kTdxCapabilities = 0;
inline constexpr uint32_t kTdxInitVm = 1;
inline constexpr uint64_t kXfamX87AndSse = 3;
struct KvmTdxCommand {
  uint32_t id;
  uint32_t flags;
  uint64_t data;
  uint64_t hw_error;
};
static_assert(sizeof(KvmTdxCommand) == 24);
struct KvmTdxCapabilities {
  static constexpr uint32_t kCpuidEntries = 256;
  uint64_t supported_attrs;
  uint64_t supported_xfam;
  uint64_t vmcall_info[4];
  uint64_t reserved[250];
  uint32_t cpuid_count;
  uint32_t cpuid_padding;
  kvm_cpuid_entry2 cpuid[kCpuidEntries];
};
static_assert(offsetof(KvmTdxCapabilities, cpuid_count) == 2048);
struct KvmTdxInitVm {
  uint64_t attributes;
  uint64_t xfam;
  uint64_t mrconfigid[6];
  uint64_t mrowner[6];
  uint64_t mrownerconfig[6];
  uint64_t reserved[12];
  uint32_t cpuid_count;
  uint32_t cpuid_padding;
  kvm_cpuid_entry2 cpuid[1];
};
static_assert(offsetof(KvmTdxInitVm, cpuid) == 264);

#ifdef KVM_SET_USER_MEMORY_REGION2
static_assert(sizeof(kvm_userspace_memory_region2) == sizeof(KvmUserspaceMemoryRegion2));
#else
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, ::cvmtrace::KvmUserspaceMemoryRegion2)
#endif
#ifdef KVM_SET_MEMORY_ATTRIBUTES
static_assert(sizeof(kvm_memory_attributes) == sizeof(KvmMemoryAttributes));
#else
#define KVM_SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, ::cvmtrace::KvmMemoryAttributes)
#endif
#ifndef KVM_SET_MEMORY_ATTRIBUTES2
#define KVM_SET_MEMORY_ATTRIBUTES2 _IOWR(KVMIO, 0xd2, ::cvmtrace::KvmMemoryAttributes2)
#endif
#ifdef KVM_CREATE_GUEST_MEMFD
static_assert(sizeof(kvm_create_guest_memfd) == sizeof(KvmCreateGuestMemfd));
#else
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, ::cvmtrace::KvmCreateGuestMemfd)
#endif
#ifdef KVM_PRE_FAULT_MEMORY
static_assert(sizeof(kvm_pre_fault_memory) == sizeof(KvmPreFaultMemory));
#else
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, ::cvmtrace::KvmPreFaultMemory)
#endif
static_assert(KVM_SET_USER_MEMORY_REGION2 == 0x40a0ae49u);
static_assert(KVM_SET_MEMORY_ATTRIBUTES == 0x4020aed2u);
static_assert(KVM_CREATE_GUEST_MEMFD == 0xc040aed4u);
static_assert(KVM_PRE_FAULT_MEMORY == 0xc040aed5u);

#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD (1u << 2)
#endif
#ifndef KVM_MEMORY_ATTRIBUTE_PRIVATE
#define KVM_MEMORY_ATTRIBUTE_PRIVATE (1ull << 3)
#endif
#ifndef GUEST_MEMFD_FLAG_MMAP
#define GUEST_MEMFD_FLAG_MMAP (1ull << 0)
#endif
#ifndef GUEST_MEMFD_FLAG_INIT_SHARED
#define GUEST_MEMFD_FLAG_INIT_SHARED (1ull << 1)
#endif

#ifndef KVM_CAP_EXIT_HYPERCALL
#define KVM_CAP_EXIT_HYPERCALL 201
#endif
#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2 231
#endif
#ifndef KVM_CAP_MEMORY_FAULT_INFO
#define KVM_CAP_MEMORY_FAULT_INFO 232
#endif
#ifndef KVM_CAP_MEMORY_ATTRIBUTES
#define KVM_CAP_MEMORY_ATTRIBUTES 233
#endif
#ifndef KVM_CAP_GUEST_MEMFD
#define KVM_CAP_GUEST_MEMFD 234
#endif
#ifndef KVM_CAP_VM_TYPES
#define KVM_CAP_VM_TYPES 235
#endif
#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif
#ifndef KVM_CAP_GUEST_MEMFD_FLAGS
#define KVM_CAP_GUEST_MEMFD_FLAGS 244
#endif

}  // namespace cvmtrace
