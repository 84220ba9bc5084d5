// KVM's structs and numbers for private memory: the kernel header's where it has them, else our own. Debian 12's
// linux-libc-dev is of Linux 6.1; guest_memfd, REGION2 and memory attributes came with 6.8, mmap of guest_memfd
// with 6.18 (Documentation/virt/kvm/api.rst).
#pragma once

#include <linux/kvm.h>
#include <stdint.h>
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
static_assert(KVM_SET_USER_MEMORY_REGION2 == 0x40a0ae49u);
static_assert(KVM_SET_MEMORY_ATTRIBUTES == 0x4020aed2u);
static_assert(KVM_CREATE_GUEST_MEMFD == 0xc040aed4u);

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
