import type { HostFiles } from './host-files.ts';

export interface HypervisorFacts {
  /** "kvm", "tcg", "hyper-v" ...; null for none; "unknown" if there is one, or may be one, that does not say its name. */
  readonly hypervisor: string | null;
  /** True if instructions are emulated, so that times are those of an emulator. */
  readonly emulated: boolean;
  /** What the answer rests on, for a person to check. */
  readonly evidence: string;
}

/** Signatures of CPUID leaf 0x40000000 (ebx, ecx, edx). */
const SIGNATURES: Readonly<Record<string, string>> = {
  KVMKVMKVM: 'kvm',
  TCGTCGTCGTCG: 'tcg',
  'Microsoft Hv': 'hyper-v',
  VMwareVMware: 'vmware',
  XenVMMXenVMM: 'xen',
  VBoxVBoxVBox: 'virtualbox',
  'bhyve bhyve': 'bhyve',
  ACRNACRNACRN: 'acrn',
  'Linux KVM Hv': 'kvm',
};

/** How a clock source that only one hypervisor gives begins. */
const CLOCKS = [
  ['kvm-clock', 'kvm'],
  ['hyperv_clocksource', 'hyper-v'],
  ['xen', 'xen'],
] as const;

/** Firmware tables that name the product, matched against vendor and product; as systemd-detect-virt does it. */
const PRODUCTS = [
  ['QEMU', 'qemu'],
  ['KVM', 'kvm'],
  ['Amazon EC2', 'kvm'],
  ['Google Compute Engine', 'kvm'],
  ['OpenStack', 'kvm'],
  ['VMware', 'vmware'],
  ['VirtualBox', 'virtualbox'],
  ['innotek GmbH', 'virtualbox'],
  ['Xen', 'xen'],
  ['Virtual Machine', 'hyper-v'],
  ['BHYVE', 'bhyve'],
] as const;

/**
 * What this host itself runs under. CPUID says it best, but only root can read it (and only where the kernel has CONFIG_X86_CPUID), so that the
 * clock sources, which need a hypervisor to offer them, and the firmware's product names come after it.
 */
export function detectHypervisor(files: HostFiles, cpuinfo: string): HypervisorFacts {
  const model = /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  if (model.startsWith('QEMU TCG CPU')) return found('tcg', `/proc/cpuinfo: ${model}`);
  const flags = /^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.split(' ');
  if (flags && !flags.includes('hypervisor')) {
    const type = files.text('/sys/hypervisor/type');
    if (type !== undefined) return found(type, '/sys/hypervisor/type');
    return { hypervisor: null, emulated: false, evidence: '/proc/cpuinfo: no hypervisor flag' };
  }
  const signature = readSignature(files);
  if (signature !== undefined) return found(SIGNATURES[signature] ?? 'unknown', `CPUID 0x40000000: ${signature}`);
  const clocks = files.text('/sys/devices/system/clocksource/clocksource0/available_clocksource')?.split(' ') ?? [];
  for (const [prefix, name] of CLOCKS) {
    const clock = clocks.find((candidate) => candidate.startsWith(prefix));
    if (clock !== undefined) return found(name, `clock source ${clock}`);
  }
  const type = files.text('/sys/hypervisor/type');
  if (type !== undefined) return found(type, '/sys/hypervisor/type');
  const dmi = ['sys_vendor', 'product_name'].map((field) => files.text(`/sys/class/dmi/id/${field}`) ?? '').join(' ');
  const product = PRODUCTS.find(([text]) => dmi.includes(text));
  if (product?.[1] === 'qemu' && !flags?.includes('hypervisor')) return found('unknown', `DMI: ${dmi}`);
  // QEMU that offers no paravirtual clock runs under TCG, or hides KVM (-cpu ...,kvm=off). Taking the second for the first only withholds
  // absolute times; taking the first for the second would report an emulator's times as a machine's.
  if (product?.[1] === 'qemu') return found('tcg', `DMI: ${dmi}, and no paravirtual clock source`);
  if (product) return found(product[1], `DMI: ${dmi}`);
  return found('unknown', flags ? '/proc/cpuinfo: hypervisor flag' : '/proc/cpuinfo has no flags');
}

function found(hypervisor: string, evidence: string): HypervisorFacts {
  return { hypervisor, emulated: hypervisor === 'tcg', evidence };
}

/** CPUID leaf 0x40000000 through the kernel's cpuid device, whose file position is the leaf (man 4 cpuid). */
function readSignature(files: HostFiles): string | undefined {
  const { bytes } = files.readAt('/dev/cpu/0/cpuid', 0x4000_0000, 16);
  if (bytes?.length !== 16) return undefined;
  // eax is the highest leaf; ebx, ecx and edx are the signature, padded with NUL.
  return bytes
    .subarray(4)
    .toString('latin1')
    .replace(/[\0 ]+$/, '');
}
