import { moduleSwitch } from './host-info.ts';
import {
  deniedDevice,
  hasFlag,
  isOff,
  isOlder,
  notPassedIn,
  triedRow,
  type Evidence,
  type ProbeRow,
  type Reason,
  type TriedStep,
} from './probe-row.ts';

const AREA = 'kvm';
/** KVM_HC_MAP_GPA_RANGE in the mask of KVM_CAP_EXIT_HYPERCALL. */
const MAP_GPA_RANGE_EXITS = 1 << 12;

/** A type of VM with a guest_memfd, and the backend that is made of it. */
interface GmemVm {
  readonly backend: string;
  readonly typeName: string;
  /** Keys of what was tried on it begin with these. */
  readonly vm: string;
  readonly gmem: string;
  /** Why there is no such VM, or no guest_memfd in it. */
  readonly vmReasons: Readonly<Record<string, Reason>>;
  readonly gmemReasons: Readonly<Record<string, Reason>>;
  readonly since: string;
}

/** What KVM itself has, whatever the VM. */
export function kvmRows(evidence: Evidence): readonly ProbeRow[] {
  const row = rowOf(evidence, AREA);
  return [
    row('open-kvm', {
      key: 'kvm.open',
      needs: '/dev/kvm',
      found: () => '/dev/kvm opens',
      reasons: openReasons(evidence),
    }),
    row('pre-fault', {
      key: 'kvm.cap.pre_fault_memory',
      needs: '/dev/kvm',
      found: () => 'KVM_PRE_FAULT_MEMORY',
      accepts: (value = 0) => value > 0,
      since: '6.11',
      symbol: 'CONFIG_KVM_GENERIC_PRE_FAULT_MEMORY',
      refused: {
        found: 'KVM_CAP_PRE_FAULT_MEMORY is 0: KVM pre-faults only with two-dimensional paging',
        remedy: 'use a host whose KVM has EPT or NPT',
      },
    }),
    row('map-gpa-exit', {
      key: 'kvm.cap.exit_hypercall',
      needs: '/dev/kvm',
      found: () => "a guest's KVM_HC_MAP_GPA_RANGE can be handed to the VMM",
      accepts: (value = 0) => (value & MAP_GPA_RANGE_EXITS) !== 0,
    }),
  ];
}

/** Steps of the sw-protected backend. */
export function swProtectedRows(evidence: Evidence): readonly ProbeRow[] {
  return gmemVmRows(evidence, {
    backend: 'sw-protected',
    typeName: 'sw-protected',
    vm: 'kvm.vm.1',
    gmem: 'kvm.vm.1.gmem',
    vmReasons: isOlder(evidence.release, '6.8') ? {} : { EINVAL: whyNotSoftwareProtected(evidence) },
    gmemReasons: {},
    since: '6.8',
  });
}

/** Steps of the guest-memfd backend. */
export function guestMemfdRows(evidence: Evidence): readonly ProbeRow[] {
  return gmemVmRows(evidence, {
    backend: 'guest-memfd',
    typeName: 'default',
    vm: 'kvm.vm.0',
    gmem: 'gmem',
    vmReasons: {},
    gmemReasons: guestMemfdReasons(evidence),
    since: '6.18',
  });
}

/** In the order in which a backend takes them. */
function gmemVmRows(
  evidence: Evidence,
  { backend, typeName, vm, gmem, vmReasons, gmemReasons, since }: GmemVm,
): readonly ProbeRow[] {
  const row = rowOf(evidence, backend);
  return [
    row('create-vm', {
      key: vm,
      needs: '/dev/kvm',
      found: () => `a VM of type ${typeName}`,
      ...(vm === 'kvm.vm.0' ? {} : { since }),
      reasons: {
        EBUSY: { found: 'another hypervisor holds the CPU', remedy: 'stop VirtualBox, VMware or whoever it is' },
        ENOMEM: { found: 'no memory for a VM', remedy: 'free memory, or raise the memory limit of the cgroup' },
        ...vmReasons,
      },
    }),
    row('guest-memfd', {
      key: `${gmem}.create.0`,
      needs: 'a VM',
      found: () => `a VM of type ${typeName} has guest_memfd`,
      since,
      reasons: gmemReasons,
    }),
    row('memory-slot', {
      key: `${gmem}.slot`,
      needs: 'a guest_memfd',
      found: () => 'KVM_SET_USER_MEMORY_REGION2 takes a shared and a private side',
      since: '6.8',
    }),
    row('allocate', {
      key: `${gmem}.allocate`,
      needs: 'a guest_memfd',
      found: () => 'fallocate on a guest_memfd',
    }),
    row('discard', {
      key: `${gmem}.punch_hole`,
      needs: 'a guest_memfd',
      found: () => 'FALLOC_FL_PUNCH_HOLE on a guest_memfd',
    }),
    row('private-touch', {
      key: `${gmem}.touch`,
      needs: 'a guest_memfd that can be mapped (Linux 6.18, and a VM without private memory)',
      found: () => 'pages of a guest_memfd are touched through a host mapping',
      since: '6.18',
      reasons: {
        EFAULT: {
          found: 'the guest_memfd can be mapped, but its pages are private: only a guest can touch them (SIGBUS)',
          remedy:
            'run a guest that touches them (--guest), or a kernel whose guest_memfd takes INIT_SHARED for this VM',
        },
      },
    }),
    row('attributes', {
      key: `${vm}.set_memory_attributes`,
      needs: 'a VM',
      found: () => `KVM_SET_MEMORY_ATTRIBUTES on a VM of type ${typeName}`,
      since: '6.8',
      reasons: attributeReasons(evidence),
    }),
    row('resident-bytes', {
      key: `${gmem}.cachestat`,
      needs: 'an allocated guest_memfd',
      found: () => 'cachestat counts the pages of a guest_memfd',
      since: '6.5',
    }),
  ];
}

function rowOf(evidence: Evidence, area: string) {
  return (step: string, tried: Omit<TriedStep, 'area' | 'step'>): ProbeRow =>
    triedRow(evidence, { area, step, ...tried });
}

function openReasons(evidence: Evidence): Readonly<Record<string, Reason>> {
  const absent = whyNoKvm(evidence);
  return {
    ENOENT: absent,
    // The device node is made before the module is loaded; opening it then finds no driver.
    ENODEV: absent,
    ENXIO: absent,
    EACCES: deniedDevice(evidence.files, '/dev/kvm'),
    EPERM: {
      found: '/dev/kvm is there, but the device rules of this container or cgroup forbid it',
      remedy: 'start the container with --device /dev/kvm',
    },
  };
}

function whyNoKvm(evidence: Evidence): Reason {
  if (isOff(evidence, 'CONFIG_KVM')) {
    return { found: 'no /dev/kvm: CONFIG_KVM is off', remedy: 'boot a kernel with CONFIG_KVM' };
  }
  if (evidence.files.list('/sys/module/kvm').length > 0) return notPassedIn('/dev/kvm', 'KVM');
  const module = hasFlag(evidence, 'vmx') ? 'kvm_intel' : hasFlag(evidence, 'svm') ? 'kvm_amd' : undefined;
  if (module !== undefined) return { found: 'no /dev/kvm: KVM is not loaded', remedy: `as root: modprobe ${module}` };
  return {
    found: 'no /dev/kvm, and the CPU shows no virtualisation (neither vmx nor svm in /proc/cpuinfo)',
    remedy:
      evidence.hypervisor.hypervisor === null
        ? 'turn virtualisation on in the firmware set-up'
        : 'turn nested virtualisation on in the host that this machine is a guest of, or use the two-memfd backend',
  };
}

/** KVM has them only if it was built for them and its TDP MMU is in use, which needs EPT or NPT (arch/x86/kvm/x86.c). */
function whyNotSoftwareProtected(evidence: Evidence): Reason {
  const isBuilt = !isOff(evidence, 'CONFIG_KVM_SW_PROTECTED_VM');
  const hasTdp = moduleSwitch(evidence.files, 'kvm', 'tdp_mmu') !== false;
  const found = [
    'KVM_CREATE_VM: EINVAL',
    ...(isBuilt ? [] : ['CONFIG_KVM_SW_PROTECTED_VM is off']),
    ...(hasTdp ? [] : ['kvm.tdp_mmu is N']),
  ].join('; ');
  const remedy = [
    ...(isBuilt ? [] : ['boot a kernel with CONFIG_KVM_SW_PROTECTED_VM']),
    ...(hasTdp ? [] : ['use a host whose KVM has EPT or NPT, with kvm.tdp_mmu=Y']),
  ].join(', and ');
  return remedy === '' ? { found } : { found, remedy };
}

function guestMemfdReasons(evidence: Evidence): Readonly<Record<string, Reason>> {
  if (!isOff(evidence, 'CONFIG_KVM_PRIVATE_MEM') || !isOff(evidence, 'CONFIG_KVM_GUEST_MEMFD')) {
    // Up to 6.17 only a VM with private memory has it, which a default VM is not.
    const refused: Reason = {
      found: 'this KVM gives a default VM no guest_memfd',
      remedy: 'boot Linux 6.18 or later, or use the sw-protected backend',
    };
    return evidence.config.path === null ? {} : { EINVAL: refused };
  }
  const off: Reason = {
    found: 'guest_memfd is not in this kernel: CONFIG_KVM_PRIVATE_MEM (to 6.17) and CONFIG_KVM_GUEST_MEMFD are off',
    remedy: 'boot Linux 6.18 or later with KVM, or use the sw-protected backend',
  };
  return { ENOTTY: off, EINVAL: off };
}

function attributeReasons(evidence: Evidence): Readonly<Record<string, Reason>> {
  if (isOlder(evidence.release, '6.8')) return {};
  const unknown = 'KVM_SET_MEMORY_ATTRIBUTES: ENOTTY';
  return {
    // No symbol that a person can set: those of the VM types with private memory select it.
    ENOTTY: {
      found: isOff(evidence, 'CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES')
        ? `${unknown}; CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES is off`
        : unknown,
      remedy:
        'boot a kernel with CONFIG_KVM_SW_PROTECTED_VM on a host whose KVM has EPT or NPT, or use an SNP or TDX host',
    },
    EINVAL: {
      found: 'a default VM has no private memory, so that nothing can be made private in it',
      remedy: 'boot a kernel with CONFIG_KVM_SW_PROTECTED_VM, or use an SNP or TDX host',
    },
  };
}
