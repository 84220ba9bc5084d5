/** host/: what this machine is, and what can be captured and replayed on it. Everything is read or tried; nothing is changed. */
import type { HostInfo } from '../trace/metadata.ts';
import { HostFiles } from './host-files.ts';
import { detectHypervisor } from './hypervisor.ts';
import { readIommu } from './iommu.ts';
import { readKernelConfig, type KernelConfig } from './kernel-config.ts';

/**
 * The host as traces describe it, from files alone: neither root nor the addon is needed.
 * @param root folder to take for "/".
 */
export function readHostInfo(root?: string): HostInfo {
  const files = new HostFiles(root);
  const cpuinfo = files.text('/proc/cpuinfo') ?? '';
  const release = files.text('/proc/sys/kernel/osrelease') ?? 'unknown';
  const config = readKernelConfig(files, release).symbols;
  const { hypervisor, emulated } = detectHypervisor(files, cpuinfo);
  return {
    kernel: {
      release,
      version: files.text('/proc/sys/kernel/version') ?? 'unknown',
      config,
    },
    cpu: {
      model: /^(?:model name|Model|cpu model)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? 'unknown',
      logical: cpuinfo.match(/^processor\s*:/gm)?.length ?? 0,
    },
    memoryBytes: 1024 * Number(/^MemTotal:\s*(\d+) kB$/m.exec(files.text('/proc/meminfo') ?? '')?.[1] ?? 0),
    hypervisor,
    emulated,
    tee: readTee(files, config),
    iommu: readIommu(files),
  };
}

/** Whether a boolean module parameter is on; undefined if the module is not loaded or has no such parameter. */
export function moduleSwitch(files: HostFiles, module: string, parameter: string): boolean | undefined {
  const text = files.text(`/sys/module/${module}/parameters/${parameter}`);
  return text === undefined ? undefined : text === 'Y' || text === '1';
}

function readTee(files: HostFiles, config: KernelConfig['symbols']): string | null {
  if (moduleSwitch(files, 'kvm_amd', 'sev_snp')) return 'snp';
  if (moduleSwitch(files, 'kvm_intel', 'tdx')) return 'tdx';
  // KVM offers software-protected VMs only with its TDP MMU, which two-dimensional paging has to back (arch/x86/kvm/x86.c).
  const paging = moduleSwitch(files, 'kvm_amd', 'npt') ?? moduleSwitch(files, 'kvm_intel', 'ept');
  const offered = config.CONFIG_KVM_SW_PROTECTED_VM != null && paging && moduleSwitch(files, 'kvm', 'tdp_mmu');
  return offered ? 'sw-protected' : null;
}
