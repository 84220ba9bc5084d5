import type { BackendKind } from './backend.ts';
import { openGmemVm } from './gmem-vm.ts';

const KIND = {
  name: 'sw-protected',
  summary: 'a VM of KVM_X86_SW_PROTECTED_VM: memory attributes and guest_memfd without a TEE',
  type: 1,
  typeName: 'sw-protected',
  hints: {
    EINVAL:
      'KVM offers it with CONFIG_KVM_SW_PROTECTED_VM and two-dimensional paging (EPT, NPT) only; cvmtrace lab run has one',
  },
} as const;

/** KVM's own vehicle for testing private memory (Linux 6.8): conversions are the real ones, memory is not encrypted. */
export const swProtected: BackendKind = { ...KIND, open: (native) => openGmemVm(native, KIND) };
