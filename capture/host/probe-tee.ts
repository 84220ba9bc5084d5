import { moduleSwitch } from './host-info.ts';
import {
  ADDON_MISSING,
  configOff,
  hasFlag,
  isOff,
  isOlder,
  tooOld,
  type Evidence,
  type ProbeRow,
  type Reason,
} from './probe-row.ts';
import type { ConfigSymbol } from './kernel-config.ts';

const AREA = 'tee';

/** A TEE that KVM runs guests in, if the machine has it and the module was told to use it. */
interface Tee {
  readonly step: string;
  /** Argument of KVM_CREATE_VM (arch/x86/include/uapi/asm/kvm.h). */
  readonly vmType: number;
  readonly name: string;
  readonly vendor: string;
  readonly hardware: string;
  readonly module: string;
  readonly parameter: string;
  readonly symbol: ConfigSymbol;
  readonly since: string;
  /** In /proc/cpuinfo where the platform has it turned on. */
  readonly flag: string;
  readonly firmware: string;
  /** On the kernel's command line. */
  readonly options: string;
}

const TEES: readonly Tee[] = [
  {
    step: 'snp',
    vmType: 4,
    name: 'SEV-SNP',
    vendor: 'AuthenticAMD',
    hardware: 'an AMD EPYC of the third generation or later',
    module: 'kvm_amd',
    parameter: 'sev_snp',
    symbol: 'CONFIG_KVM_AMD_SEV',
    since: '6.11',
    flag: 'sev_snp',
    options: 'kvm_amd.sev=1 kvm_amd.sev_snp=1',
    firmware:
      'turn on SMEE, SEV-SNP and the RMP table in the firmware set-up, and boot with amd_iommu=on and without iommu=pt',
  },
  {
    step: 'tdx',
    vmType: 5,
    name: 'TDX',
    vendor: 'GenuineIntel',
    hardware: 'an Intel Xeon of the fifth generation or later',
    module: 'kvm_intel',
    parameter: 'tdx',
    symbol: 'CONFIG_KVM_INTEL_TDX',
    since: '6.16',
    flag: 'tdx_host_platform',
    options: 'kvm_intel.tdx=1',
    firmware: 'turn on TME-MT and TDX in the firmware set-up',
  },
];

/** Which confidential guests this host's KVM can run. */
export function teeRows(evidence: Evidence): readonly ProbeRow[] {
  return TEES.map((tee) => teeRow(evidence, tee));
}

function teeRow(evidence: Evidence, tee: Tee): ProbeRow {
  const row = { area: AREA, step: tee.step };
  const attempt = evidence.attempts?.[`kvm.vm.${tee.vmType}`];
  const isOn = moduleSwitch(evidence.files, tee.module, tee.parameter);
  if (attempt?.errno === 0) return { ...row, works: true, found: `KVM makes ${tee.name} VMs` };
  if (!isOn) return { ...row, works: false, ...whyOff(evidence, tee, isOn) };
  const says = `${tee.module}.${tee.parameter} is Y`;
  if (!evidence.attempts) return { ...row, works: null, ...ADDON_MISSING, found: `${says}; ${ADDON_MISSING.found}` };
  if (!attempt) return { ...row, works: false, found: `not tried: it needs /dev/kvm (${says})` };
  const errno = evidence.errnoName(attempt.errno);
  return {
    ...row,
    works: false,
    errno,
    found: `${says}, but ${attempt.call}: ${errno}`,
    remedy: 'look for the reason in dmesg',
  };
}

/** The first thing in the way, from the machine up to the module. */
function whyOff(evidence: Evidence, tee: Tee, isOn: boolean | undefined): Reason {
  const vendor = /^vendor_id\s*:\s*(.*)$/m.exec(evidence.cpuinfo)?.[1] ?? 'unknown';
  if (vendor !== tee.vendor) {
    return { found: `the CPU (${vendor}) has no ${tee.name}`, remedy: `use a machine with ${tee.hardware}` };
  }
  const { hypervisor } = evidence.hypervisor;
  if (hypervisor !== null) {
    return {
      found: `this machine is a guest itself (${hypervisor}), and ${tee.name} guests do not nest`,
      remedy: `use a bare-metal machine with ${tee.hardware}`,
    };
  }
  const off = `no ${tee.name}`;
  if (isOlder(evidence.release, tee.since)) return tooOld(evidence.release, tee.since, off);
  if (isOff(evidence, tee.symbol)) return configOff(tee.symbol, off);
  if (!hasFlag(evidence, tee.flag)) {
    return { found: `${off}: /proc/cpuinfo has no flag ${tee.flag}`, remedy: tee.firmware };
  }
  if (isOn === undefined)
    return { found: `${off}: ${tee.module} is not loaded`, remedy: `as root: modprobe ${tee.module}` };
  return {
    found: `${off}: ${tee.module}.${tee.parameter} is N`,
    remedy: `boot with ${tee.options}; dmesg says why if it stays off`,
  };
}
