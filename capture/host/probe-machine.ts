import type { HostInfo } from '../trace/metadata.ts';
import type { Evidence, ProbeRow } from './probe-row.ts';

const AREA = 'host';

/** What the machine is: the facts that every trace's metadata holds. */
export function machineRows(evidence: Evidence, host: HostInfo): readonly ProbeRow[] {
  return [
    { area: AREA, step: 'kernel', works: true, found: `Linux ${host.kernel.release} ${host.kernel.version}` },
    configRow(evidence),
    { area: AREA, step: 'cpu', works: true, found: `${host.cpu.logical} x ${host.cpu.model}` },
    hypervisorRow(evidence),
  ];
}

function configRow({ config, release }: Evidence): ProbeRow {
  const row = { area: AREA, step: 'kernel-config' };
  if (config.path !== null) return { ...row, works: true, found: config.path };
  return {
    ...row,
    works: false,
    found: `neither /proc/config.gz nor /boot/config-${release} can be read: reasons that depend on it are not given`,
    remedy: 'install the configuration of this kernel in /boot, or boot one with CONFIG_IKCONFIG_PROC',
  };
}

function hypervisorRow({ hypervisor: { hypervisor, emulated, evidence } }: Evidence): ProbeRow {
  const row = { area: AREA, step: 'native-times' };
  if (emulated) {
    return {
      ...row,
      works: false,
      found: `the CPU is emulated (${hypervisor ?? 'unknown'}; ${evidence}): times are those of an emulator, only ratios are results`,
      remedy: 'use a machine, or a VM with hardware virtualisation',
    };
  }
  const found = hypervisor === null ? `no hypervisor (${evidence})` : `a guest of ${hypervisor} (${evidence})`;
  return { ...row, works: true, found };
}
