import { existsSync, readdirSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CvmtraceError } from '../../native/index.ts';
import type { VfioDevice } from './target.ts';

const PCI = '/sys/bus/pci';
const GROUPS = '/sys/kernel/iommu_groups';
const VFIO = 'vfio-pci';

/** A device that VFIO has, and how to give it back. */
export interface ClaimedDevice extends VfioDevice, Disposable {}

/**
 * Finds the device that the user named: a PCI address, or an IOMMU group. It must be bound to vfio-pci; with `bind` it is bound for as long as
 * it is claimed, and given back to the driver that it had.
 * @throws CvmtraceError USAGE without a name or for one that is none, UNAVAILABLE for a device that another driver has or that has no IOMMU
 */
export function claimDevice(name: string | undefined, bind: boolean): ClaimedDevice {
  if (name === undefined) {
    const ready = devicesOfVfio();
    throw new CvmtraceError('USAGE', 'this --dma needs a device: --device PCI-ADDRESS or GROUP', {
      hint:
        ready.length > 0
          ? `bound to ${VFIO} here: ${ready.join(', ')}`
          : `no device is bound to ${VFIO} here; choose one that the host can spare, or --dma mock, or run it in cvmtrace lab`,
    });
  }
  const addresses = /^\d+$/.test(name) ? devicesOfGroup(name) : [pciAddress(name)];
  const [address] = addresses;
  if (address === undefined) throw new CvmtraceError('UNAVAILABLE', `IOMMU group ${name} has no device`, {});
  const group = groupOf(address, name);
  const restore: (() => void)[] = [];
  try {
    for (const member of addresses) restore.push(claim(member, bind));
    return {
      name,
      group,
      cdev: cdevOf(address),
      [Symbol.dispose]: () => restore.forEach((giveBack) => giveBack()),
    };
  } catch (error) {
    restore.forEach((giveBack) => giveBack());
    throw error;
  }
}

function pciAddress(name: string): string {
  const address = /^[\da-f]{2}:/i.test(name) ? `0000:${name}` : name;
  if (!/^[\da-f]{4,}:[\da-f]{2}:[\da-f]{2}\.[0-7]$/i.test(address)) {
    throw new CvmtraceError('USAGE', `--device: "${name}" is no PCI address and no IOMMU group`, {
      hint: 'for example 0000:01:00.0 (lspci -D), or the number of its group',
    });
  }
  if (!existsSync(join(PCI, 'devices', address))) {
    throw new CvmtraceError('UNAVAILABLE', `there is no PCI device ${address}`, { hint: 'lspci -D lists them' });
  }
  return address.toLowerCase();
}

function devicesOfGroup(group: string): string[] {
  const folder = join(GROUPS, group, 'devices');
  if (existsSync(folder)) return readdirSync(folder);
  throw new CvmtraceError('UNAVAILABLE', `there is no IOMMU group ${group}`, {
    hint: existsSync(GROUPS) ? `groups are in ${GROUPS}` : 'no IOMMU is in use: cvmtrace probe says why',
  });
}

function groupOf(address: string, name: string): number {
  const link = join(PCI, 'devices', address, 'iommu_group');
  if (existsSync(link)) return Number(basename(realpathSync(link)));
  throw new CvmtraceError('UNAVAILABLE', `device ${name} is behind no IOMMU`, {
    hint: 'turn the IOMMU on (intel_iommu=on, amd_iommu=on), or choose --dma mock',
  });
}

/** Returns what undoes it. */
function claim(address: string, bind: boolean): () => void {
  const driver = driverOf(address);
  if (driver === VFIO || isBridge(address)) return () => undefined;
  if (!bind) {
    throw new CvmtraceError(
      'UNAVAILABLE',
      driver === undefined
        ? `device ${address} is not bound to ${VFIO}`
        : `device ${address} is in use by the host's driver ${driver}`,
      { hint: `--bind-device binds it to ${VFIO} for this run; whatever uses it now on the host loses it` },
    );
  }
  bindTo(address, VFIO);
  if (driverOf(address) !== VFIO) {
    bindTo(address, '');
    throw new CvmtraceError('UNAVAILABLE', `${VFIO} did not take device ${address}`, {
      hint: `is ${VFIO} there (modprobe ${VFIO})? dmesg says why`,
    });
  }
  return () => bindTo(address, '');
}

/** Lets go of the driver and asks for that one; '' for the one that is found by itself. */
function bindTo(address: string, driver: string): void {
  const device = join(PCI, 'devices', address);
  try {
    if (existsSync(join(device, 'driver'))) writeFileSync(join(device, 'driver/unbind'), address);
    writeFileSync(join(device, 'driver_override'), `${driver}\n`);
    writeFileSync(join(PCI, 'drivers_probe'), address);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    throw new CvmtraceError('UNAVAILABLE', `cannot bind device ${address}: ${code}`, {
      hint: code === 'EACCES' ? 'binding a driver needs root' : 'dmesg may say why',
      cause,
    });
  }
}

function devicesOfVfio(): string[] {
  const folder = join(PCI, 'drivers', VFIO);
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.includes(':')) : [];
}

function driverOf(address: string): string | undefined {
  const link = join(PCI, 'devices', address, 'driver');
  return existsSync(link) ? basename(readlinkSync(link)) : undefined;
}

/** Bridges of a group stay with the host (Documentation/driver-api/vfio.rst). */
function isBridge(address: string): boolean {
  return driverOf(address) === 'pcieport';
}

function cdevOf(address: string): number | null {
  const folder = join(PCI, 'devices', address, 'vfio-dev');
  const [name] = existsSync(folder) ? readdirSync(folder) : [];
  return name === undefined ? null : Number(name.replace('vfio', ''));
}
