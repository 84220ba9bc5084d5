// KVM: Documentation/virt/kvm/api.rst.
#include "../core/kvm_abi.h"
#include "ioctl_call.h"
#include "recognise.h"

namespace cvmtrace::preload {
namespace {

bool CreateVm(const IoctlCall& call, Row& row) {
  row.Attrs(call.argument);
  if (call.failed()) return true;
  row.Obj(EnterObject(static_cast<int>(call.returned), Kind::kVm).number());
  return true;
}

bool CreateVcpu(const IoctlCall& call, Row& row) {
  const auto index = static_cast<uint32_t>(call.argument);
  row.Vcpu(index);
  if (call.failed()) return true;
  row.Obj(EnterObject(static_cast<int>(call.returned), Kind::kVcpu, index, call.number()).number());
  return true;
}

bool CreateGuestMemfd(const IoctlCall& call, Row& row) {
  KvmCreateGuestMemfd create;
  if (call.Read(create)) {
    row.Len(create.size);
    row.Flags(create.flags);
  }
  if (call.failed()) return true;
  row.Obj(EnterObject(static_cast<int>(call.returned), Kind::kGuestMemfd).number());
  return true;
}

bool SetUserMemoryRegion(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  kvm_userspace_memory_region region;
  if (!call.Read(region)) return true;
  row.Attrs(region.slot);
  row.Flags(region.flags);
  row.Gpa(region.guest_phys_addr);
  row.Len(region.memory_size);
  if (region.userspace_addr) row.Hva(region.userspace_addr);
  return true;
}

bool SetUserMemoryRegion2(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  KvmUserspaceMemoryRegion2 region;
  if (!call.Read(region)) return true;
  uint64_t guest_memfd = 0;
  if (region.flags & KVM_MEM_GUEST_MEMFD) {
    const Entry entry = Lookup(static_cast<int>(region.guest_memfd));
    if (entry.kind() == Kind::kGuestMemfd) guest_memfd = entry.number();
    row.Offset(region.guest_memfd_offset);
  }
  row.Attrs(region.slot | guest_memfd << 32);
  row.Flags(region.flags);
  row.Gpa(region.guest_phys_addr);
  row.Len(region.memory_size);
  if (region.userspace_addr) row.Hva(region.userspace_addr);
  return true;
}

bool SetMemoryAttributes(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  KvmMemoryAttributes attributes;
  if (!call.Read(attributes)) return true;
  row.Gpa(attributes.address);
  row.Len(attributes.size);
  row.Attrs(attributes.attributes);
  row.Flags(attributes.flags);
  return true;
}

// On a guest_memfd, of which a range is meant; the result of a call that failed is where, if the kernel says so.
bool SetMemoryAttributes2(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  KvmMemoryAttributes2 attributes;
  if (!call.Read(attributes)) return true;
  row.Offset(attributes.offset);
  row.Len(attributes.size);
  row.Attrs(attributes.attributes);
  row.Flags(attributes.flags);
  // Written back with this error; with others the field can be whatever the target left there.
  if (call.returned == -EAGAIN) row.Result(attributes.error_offset);
  return true;
}

bool PreFaultMemory(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  row.Vcpu(call.entry.object()->index);
  KvmPreFaultMemory range;
  if (!call.ReadBefore(range)) return true;
  row.Gpa(range.gpa);
  row.Len(range.size);
  row.Flags(range.flags);
  KvmPreFaultMemory rest;
  if (!call.failed() && call.Read(rest)) row.Result(range.size - rest.size);
  return true;
}

// struct kvm_sev_cmd and struct kvm_tdx_cmd both begin with the command.
bool MemoryEncryptOp(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  if (call.entry.kind() == Kind::kVcpu) row.Vcpu(call.entry.object()->index);
  uint64_t command;
  if (call.Read(command)) row.Attrs(static_cast<uint32_t>(command));
  return true;
}

bool MemoryEncryptRegion(const IoctlCall& call, Row& row) {
  row.Obj(call.number());
  kvm_enc_region region;
  if (!call.Read(region)) return true;
  row.Hva(region.addr);
  row.Len(region.size);
  return true;
}

constexpr uint32_t kVm = Bit(Kind::kVm);
constexpr uint32_t kVcpu = Bit(Kind::kVcpu);

constexpr IoctlKind kCreateVm = {Bit(Kind::kKvm), Op::kvm_create_vm, 0, CreateVm};
constexpr IoctlKind kCreateVcpu = {kVm, Op::kvm_create_vcpu, 0, CreateVcpu};
constexpr IoctlKind kCreateGuestMemfd = {kVm, Op::kvm_create_guest_memfd, 0, CreateGuestMemfd};
constexpr IoctlKind kRegion = {kVm, Op::kvm_set_user_memory_region, 0, SetUserMemoryRegion};
constexpr IoctlKind kRegion2 = {kVm, Op::kvm_set_user_memory_region2, 0, SetUserMemoryRegion2};
constexpr IoctlKind kAttributes = {kVm, Op::kvm_set_memory_attributes, 0, SetMemoryAttributes};
constexpr IoctlKind kAttributes2 = {Bit(Kind::kGuestMemfd), Op::kvm_set_memory_attributes2, 0, SetMemoryAttributes2};
// Its first four words are those of KVM_SET_MEMORY_ATTRIBUTES.
constexpr IoctlKind kAttributes2OfVm = {kVm, Op::kvm_set_memory_attributes2, 0, SetMemoryAttributes};
constexpr IoctlKind kPreFault = {kVcpu, Op::kvm_pre_fault_memory, sizeof(KvmPreFaultMemory), PreFaultMemory};
constexpr IoctlKind kEncryptOp = {kVm | kVcpu, Op::kvm_memory_encrypt_op, 0, MemoryEncryptOp};
constexpr IoctlKind kRegister = {kVm, Op::kvm_memory_encrypt_reg_region, 0, MemoryEncryptRegion};
constexpr IoctlKind kUnregister = {kVm, Op::kvm_memory_encrypt_unreg_region, 0, MemoryEncryptRegion};

// KVM_SET_MEMORY_ATTRIBUTES2 as the first posting of in-place conversion had it: on the VM, 64 bytes.
constexpr uint32_t kSetMemoryAttributes2OfVm = 0xc040aed6;

}  // namespace

const IoctlKind* FindKvmIoctl(uint32_t request) {
  switch (request) {
    case KVM_CREATE_VM:
      return &kCreateVm;
    case KVM_CREATE_VCPU:
      return &kCreateVcpu;
    case KVM_CREATE_GUEST_MEMFD:
      return &kCreateGuestMemfd;
    case KVM_SET_USER_MEMORY_REGION:
      return &kRegion;
    case KVM_SET_USER_MEMORY_REGION2:
      return &kRegion2;
    case KVM_SET_MEMORY_ATTRIBUTES:
      return &kAttributes;
    case KVM_SET_MEMORY_ATTRIBUTES2:
      return &kAttributes2;
    case kSetMemoryAttributes2OfVm:
      return &kAttributes2OfVm;
    case KVM_PRE_FAULT_MEMORY:
      return &kPreFault;
    case KVM_MEMORY_ENCRYPT_OP:
      return &kEncryptOp;
    case KVM_MEMORY_ENCRYPT_REG_REGION:
      return &kRegister;
    case KVM_MEMORY_ENCRYPT_UNREG_REGION:
      return &kUnregister;
    default:
      return nullptr;
  }
}

}  // namespace cvmtrace::preload
