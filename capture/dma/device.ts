import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CvmtraceError } from '../../native/index.ts';
import type { VfioDevice } from './target.ts';

const VFIO = 'vfio-pci';
/** Bridges of a group stay with the host (Documentation/driver-api/vfio.rst). */
const BRIDGE_DRIVER = 'pcieport';

/** A device that VFIO has, and how to give it back. */
export interface ClaimedDevice extends VfioDevice, Disposable {}

/** Where devices and their drivers are, and how that is changed. */
export interface Sysfs {
  readonly root: string;
  write(file: string, text: string): void;
}

const HOST: Sysfs = { root: '/sys', write: (file, text) => writeFileSync(file, text) };

/**
 * Finds the device that the user named: a PCI address, or an IOMMU group. It must be bound to vfio-pci; with `bind` it is bound for as long as
 * it is claimed, and given back to the driver that it had.
 * @throws CvmtraceError USAGE without a name or for one that is none, UNAVAILABLE for a device that another driver has or that has no IOMMU
 */
export function claimDevice(name: string | undefined, bind: boolean, sysfs: Sysfs = HOST): ClaimedDevice {
  const bus = new PciBus(sysfs);
  if (name === undefined) {
    const ready = bus.devicesOfVfio();
    throw new CvmtraceError('USAGE', 'this --dma needs a device: --device PCI-ADDRESS or GROUP', {
      hint:
        ready.length > 0
          ? `bound to ${VFIO} here: ${ready.join(', ')}`
          : `no device is bound to ${VFIO} here; choose one that the host can spare, or --dma mock, or run it in cvmtrace lab`,
    });
  }
  const members = /^\d+$/.test(name) ? bus.devicesOfGroup(name) : [bus.device(name)];
  const addresses = members.filter((address) => bus.driverOf(address) !== BRIDGE_DRIVER);
  const [address] = addresses;
  if (address === undefined) {
    throw new CvmtraceError('UNAVAILABLE', `--device ${name} is a bridge, or has nothing but bridges`, {
      hint: 'name a device behind it: lspci -D lists them',
    });
  }
  const group = bus.groupOf(address);
  const restore: (() => void)[] = [];
  const giveBack = (): void => restore.splice(0).forEach((undo) => undo());
  try {
    for (const member of addresses) restore.push(claim(bus, member, bind));
    return { name, group, cdev: bus.cdevOf(address), [Symbol.dispose]: giveBack };
  } catch (error) {
    giveBack();
    throw error;
  }
}

/** Returns what undoes it. */
function claim(bus: PciBus, address: string, bind: boolean): () => void {
  const driver = bus.driverOf(address);
  if (driver === VFIO) return () => undefined;
  if (!bind) {
    throw new CvmtraceError(
      'UNAVAILABLE',
      driver === undefined
        ? `device ${address} is not bound to ${VFIO}`
        : `device ${address} is in use by the host's driver ${driver}`,
      { hint: `--bind-device binds it to ${VFIO} for this run; whatever uses it now on the host loses it` },
    );
  }
  const override = bus.overrideOf(address);
  const giveBack = (): void => bus.bind(address, override, driver !== undefined);
  try {
    bus.bind(address, VFIO, true);
  } catch (error) {
    // It may have lost its driver before this failed.
    if (bus.driverOf(address) !== driver) giveBack();
    throw error;
  }
  if (bus.driverOf(address) === VFIO) return giveBack;
  giveBack();
  throw new CvmtraceError('UNAVAILABLE', `${VFIO} did not take device ${address}`, {
    hint: `is ${VFIO} there (modprobe ${VFIO})? dmesg says why`,
  });
}

/** PCI devices as sysfs shows them (Documentation/ABI/testing/sysfs-bus-pci). */
class PciBus {
  readonly #sysfs: Sysfs;
  readonly #pci: string;
  readonly #groups: string;

  constructor(sysfs: Sysfs) {
    this.#sysfs = sysfs;
    this.#pci = join(sysfs.root, 'bus/pci');
    this.#groups = join(sysfs.root, 'kernel/iommu_groups');
  }

  /** The full address of a device. */
  device(name: string): string {
    const address = (/^[\da-f]{2}:/i.test(name) ? `0000:${name}` : name).toLowerCase();
    if (!/^[\da-f]{4,}:[\da-f]{2}:[\da-f]{2}\.[0-7]$/.test(address)) {
      throw new CvmtraceError('USAGE', `--device: "${name}" is no PCI address and no IOMMU group`, {
        hint: 'for example 0000:01:00.0 (lspci -D), or the number of its group',
      });
    }
    if (existsSync(this.#file(address))) return address;
    throw new CvmtraceError('UNAVAILABLE', `there is no PCI device ${address}`, { hint: 'lspci -D lists them' });
  }

  devicesOfGroup(group: string): string[] {
    const folder = join(this.#groups, group, 'devices');
    if (existsSync(folder)) return readdirSync(folder);
    throw new CvmtraceError('UNAVAILABLE', `there is no IOMMU group ${group}`, {
      hint: existsSync(this.#groups) ? `groups are in ${this.#groups}` : 'no IOMMU is in use: cvmtrace probe says why',
    });
  }

  devicesOfVfio(): string[] {
    const folder = join(this.#pci, 'drivers', VFIO);
    return existsSync(folder) ? readdirSync(folder).filter((name) => name.includes(':')) : [];
  }

  groupOf(address: string): number {
    const link = this.#file(address, 'iommu_group');
    if (existsSync(link)) return Number(basename(realpathSync(link)));
    throw new CvmtraceError('UNAVAILABLE', `device ${address} is behind no IOMMU`, {
      hint: 'turn the IOMMU on (intel_iommu=on, amd_iommu=on), or choose --dma mock',
    });
  }

  driverOf(address: string): string | undefined {
    const link = this.#file(address, 'driver');
    return existsSync(link) ? basename(readlinkSync(link)) : undefined;
  }

  /** The driver that somebody reserved the device for; '' for none. */
  overrideOf(address: string): string {
    const file = this.#file(address, 'driver_override');
    const text = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
    return text === '(null)' ? '' : text;
  }

  /** N of /dev/vfio/devices/vfioN. */
  cdevOf(address: string): number | null {
    const folder = this.#file(address, 'vfio-dev');
    const [name] = existsSync(folder) ? readdirSync(folder) : [];
    return name === undefined ? null : Number(name.replace('vfio', ''));
  }

  /** Takes the device from its driver and reserves it for that one, '' for whichever fits; with `probe` it is given to it. */
  bind(address: string, driver: string, probe: boolean): void {
    const sysfs = this.#sysfs;
    try {
      if (this.driverOf(address) !== undefined) sysfs.write(this.#file(address, 'driver/unbind'), address);
      sysfs.write(this.#file(address, 'driver_override'), `${driver}\n`);
      if (probe) sysfs.write(join(this.#pci, 'drivers_probe'), address);
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
      throw new CvmtraceError('UNAVAILABLE', `cannot bind device ${address}: ${code}`, {
        hint: code === 'EACCES' ? 'binding a driver needs root' : 'dmesg may say why',
        cause,
      });
    }
  }

  #file(address: string, name = ''): string {
    return join(this.#pci, 'devices', address, name);
  }
}
