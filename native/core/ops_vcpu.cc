// vCPUs, memory populated before the guest runs, and the set-up of confidential VMs: Documentation/virt/kvm/api.rst,
// KVM_PRE_FAULT_MEMORY, and Documentation/virt/kvm/x86/amd-memory-encryption.rst, intel-tdx.rst.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "handlers.h"
#include "kvm_abi.h"

namespace cvmtrace {
namespace {

void CreateVcpu(OpRun& run) {
  if (!run.Has(present::obj | present::vcpu)) return run.Skip(EINVAL);
  const Object* const vm = run.objects().Find(run.peer(), ObjectKind::kVm);
  if (!vm) return run.Skip(EBADF);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  // The vCPU's shared page has the same size for all, and is only part of the call for the VMM.
  const ScopedFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) return run.Skip(errno);
  const int run_bytes = ::ioctl(kvm.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_bytes < 0) return run.Skip(errno);
  const auto bytes = static_cast<size_t>(run_bytes);
  ScopedFd fd;
  ScopedMap map;
  const bool created = run.Time([&] {
    fd.reset(::ioctl(vm->fd.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(run.vcpu())));
    return fd ? 0 : -1;
  });
  if (!created) return;
  map = ScopedMap(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), bytes);
  if (!map) return run.Skip(errno);
  run.objects().Add(run.obj(),
                    std::make_unique<Object>(Object{ObjectKind::kVcpu, std::move(fd), std::move(map), bytes}));
}

// The kernel says how far it came by what is left; the call succeeds if it did any page.
void PreFaultMemory(OpRun& run) {
  if (!run.Has(present::obj | present::gpa | present::len)) return run.Skip(EINVAL);
  const Object* const vcpu = run.Find(run.obj(), ObjectKind::kVcpu);
  if (!vcpu) return run.Skip(EBADF);
  KvmPreFaultMemory range = {run.gpa(), run.len(), run.flags(), {}};
  if (run.Time([&] { return ::ioctl(vcpu->fd.get(), KVM_PRE_FAULT_MEMORY, &range); })) {
    run.SetResult(static_cast<int64_t>(run.len() - range.size));
  }
}

// KVM_SEV_INIT2, which makes an SNP VM of a VM of that type. Not verified on hardware.
void SevOp(OpRun& run, int target) {
  if (run.attrs() != kSevInit2) return run.Skip(EOPNOTSUPP);
  const ScopedFd sev(::open("/dev/sev", O_RDWR | O_CLOEXEC));
  if (!sev) return run.Skip(errno);
  KvmSevInit init = {};
  KvmSevCommand command = {};
  command.id = kSevInit2;
  command.data = reinterpret_cast<uint64_t>(&init);
  command.sev_fd = static_cast<uint32_t>(sev.get());
  // What the firmware says is the better reason, but it is no errno.
  run.Time([&] { return ::ioctl(target, KVM_MEMORY_ENCRYPT_OP, &command); });
}

// KVM_TDX_CAPABILITIES and KVM_TDX_INIT_VM. Not verified on hardware. A TD is made with what the module's capabilities
// allow, no attribute, x87 and SSE state, which every TD has, and the one CPUID leaf that KVM asks for: 48 bits of
// guest-physical addresses.
void TdxOp(OpRun& run, int target) {
  auto capabilities = std::make_unique<KvmTdxCapabilities>();
  capabilities->cpuid_count = KvmTdxCapabilities::kCpuidEntries;
  KvmTdxCommand command = {kTdxCapabilities, 0, reinterpret_cast<uint64_t>(capabilities.get()), 0};
  const auto call = [&] { return ::ioctl(target, KVM_MEMORY_ENCRYPT_OP, &command); };
  if (run.attrs() == kTdxCapabilities) {
    run.Time(call);
    return;
  }
  if (run.attrs() != kTdxInitVm) return run.Skip(EOPNOTSUPP);
  if (call() < 0) return run.Skip(errno);
  auto init = std::make_unique<KvmTdxInitVm>();
  init->xfam = capabilities->supported_xfam & kXfamX87AndSse;
  init->cpuid_count = 1;
  init->cpuid[0].function = 0x80000008;
  init->cpuid[0].eax = 48u << 16;
  command = {kTdxInitVm, 0, reinterpret_cast<uint64_t>(init.get()), 0};
  run.Time(call);
}

void MemoryEncryptOp(OpRun& run) {
  if (!run.Has(present::obj | present::attrs)) return run.Skip(EINVAL);
  const Object* const vm = run.Find(run.obj(), ObjectKind::kVm);
  if (!vm) return run.Skip(EBADF);
  return vm->vm_type == kVmTypeTdx ? TdxOp(run, vm->fd.get()) : SevOp(run, vm->fd.get());
}

}  // namespace

void RegisterVcpuOps(HandlerTable& table) {
  table[Op::kvm_create_vcpu] = CreateVcpu;
  table[Op::kvm_pre_fault_memory] = PreFaultMemory;
  table[Op::kvm_memory_encrypt_op] = MemoryEncryptOp;
}

}  // namespace cvmtrace
