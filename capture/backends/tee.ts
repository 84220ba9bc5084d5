/**
 * VMs of a TEE, as far as the uAPI sets them up without a launch image: the VM, its memory and its conversions. Not verified on hardware.
 */
import type { BackendKind } from './backend.ts';
import { openGmemVm, type VmKind } from './gmem-vm.ts';
import { ObjectNumber } from './backend.ts';

/** KVM_SEV_INIT2 of asm/kvm.h. */
const KVM_SEV_INIT2 = 22;

const NOT_VERIFIED = {
  step: 'hardware',
  reason: 'this backend has not been verified on hardware, and its guest was not launched',
} as const;

const SNP: VmKind = {
  name: 'snp',
  summary: 'an SEV-SNP VM, not launched (not verified on hardware)',
  type: 4,
  typeName: 'snp',
  initialize: [['kvm_memory_encrypt_op', { obj: ObjectNumber.vm, attrs: KVM_SEV_INIT2 }]],
  hints: { EINVAL: 'this host is no SEV-SNP host: cvmtrace probe says what is missing' },
  leftOut: [NOT_VERIFIED],
};

const TDX: VmKind = {
  name: 'tdx',
  summary: 'a TD, not finalized (not verified on hardware)',
  type: 5,
  typeName: 'tdx',
  hints: { EINVAL: 'this host is no TDX host: cvmtrace probe says what is missing' },
  leftOut: [NOT_VERIFIED],
};

export const snp: BackendKind = { ...SNP, open: (native) => openGmemVm(native, SNP) };
export const tdx: BackendKind = { ...TDX, open: (native) => openGmemVm(native, TDX) };
