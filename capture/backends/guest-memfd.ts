import type { BackendKind } from './backend.ts';
import { openGmemVm } from './gmem-vm.ts';

const KIND = {
  name: 'guest-memfd',
  summary: 'an ordinary VM whose private side is a guest_memfd and whose shared side is a memfd (Linux 6.18)',
  type: 0,
  typeName: 'default',
} as const;

/** A VM of type KVM_X86_DEFAULT_VM: from Linux 6.18 on it may have a guest_memfd, though no memory attributes. */
export const guestMemfd: BackendKind = { ...KIND, open: (native) => openGmemVm(native, KIND) };
