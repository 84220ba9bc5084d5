import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CvmtraceError } from '../../native/index.ts';
import { claimDevice, type Sysfs } from './device.ts';

interface FakeDevice {
  readonly driver?: string;
  readonly group?: number;
  readonly override?: string;
}

/** A sysfs with PCI devices, whose files do what the kernel's do: a driver that knows the device, or that it is reserved for, takes it. */
class FakeSysfs implements Sysfs {
  readonly root: string;
  /** Driver that knows a device by its ids. */
  readonly native = new Map<string, string>();
  /** Errors of writes, by the file's name. */
  readonly refuses = new Map<string, string>();
  readonly #drivers: readonly string[];

  constructor(devices: Readonly<Record<string, FakeDevice>>, drivers: readonly string[] = ['vfio-pci', 'e1000e']) {
    this.root = mkdtempSync(join(tmpdir(), 'cvmtrace-sysfs-'));
    this.#drivers = drivers;
    for (const driver of [...drivers, 'pcieport']) mkdirSync(this.at('bus/pci/drivers', driver), { recursive: true });
    for (const [address, { driver, group, override = '(null)' }] of Object.entries(devices)) {
      mkdirSync(this.#device(address), { recursive: true });
      writeFileSync(join(this.#device(address), 'driver_override'), `${override}\n`);
      if (group !== undefined) {
        const folder = this.at('kernel/iommu_groups', String(group), 'devices');
        mkdirSync(folder, { recursive: true });
        symlinkSync(this.#device(address), join(folder, address));
        symlinkSync(dirname(folder), join(this.#device(address), 'iommu_group'));
      }
      if (driver === undefined) continue;
      this.native.set(address, driver);
      this.#attach(address, driver);
    }
  }

  write(file: string, text: string): void {
    const code = this.refuses.get(basename(file));
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    if (basename(file) === 'unbind') this.#detach(text);
    else if (basename(file) === 'driver_override') writeFileSync(file, text === '\n' ? '(null)\n' : text);
    else if (basename(file) === 'drivers_probe') this.#probe(text);
    else throw new Error(`no such file ${file}`);
  }

  driverOf(address: string): string | undefined {
    return this.#drivers.concat('pcieport').find((driver) => this.#bound(driver).includes(address));
  }

  overrideOf(address: string): string {
    return readFileSync(join(this.#device(address), 'driver_override'), 'utf8').trim();
  }

  at(...parts: string[]): string {
    return join(this.root, ...parts);
  }

  #bound(driver: string): string[] {
    return readdirSync(this.at('bus/pci/drivers', driver));
  }

  #device(address: string): string {
    return this.at('bus/pci/devices', address);
  }

  #attach(address: string, driver: string): void {
    symlinkSync(this.at('bus/pci/drivers', driver), join(this.#device(address), 'driver'));
    symlinkSync(this.#device(address), this.at('bus/pci/drivers', driver, address));
    if (driver === 'vfio-pci') mkdirSync(join(this.#device(address), 'vfio-dev/vfio7'), { recursive: true });
  }

  #detach(address: string): void {
    const driver = this.driverOf(address);
    if (driver === undefined) throw new Error(`${address} has no driver`);
    for (const path of [
      join(this.#device(address), 'driver'),
      join(this.#device(address), 'vfio-dev'),
      this.at('bus/pci/drivers', driver, address),
    ])
      rmSync(path, { recursive: true, force: true });
  }

  #probe(address: string): void {
    const override = this.overrideOf(address);
    const driver = override === '(null)' ? this.native.get(address) : override;
    if (driver !== undefined && this.#drivers.includes(driver)) this.#attach(address, driver);
  }
}

const NIC = '0000:00:03.0';
let sysfs: FakeSysfs;

beforeEach(() => {
  sysfs = new FakeSysfs({
    [NIC]: { driver: 'e1000e', group: 4 },
    '0000:00:04.0': { driver: 'vfio-pci', group: 5 },
    '0000:00:05.0': { driver: 'e1000e' },
    '0000:0a:00.0': { group: 6 },
    '0000:0b:00.0': { driver: 'pcieport', group: 7 },
    '0000:0c:00.0': { driver: 'vfio-pci', group: 7 },
    '0000:0c:00.1': { driver: 'e1000e', group: 7 },
    '0000:0d:00.0': { driver: 'pcieport', group: 8 },
  });
});
afterEach(() => rmSync(sysfs.root, { recursive: true }));

const claim = (name: string | undefined, bind = false) => claimDevice(name, bind, sysfs);

function refusal(name: string | undefined, bind = false): CvmtraceError {
  try {
    claim(name, bind)[Symbol.dispose]();
  } catch (error) {
    if (error instanceof CvmtraceError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('a device that is bound to vfio-pci', () => {
  it('is taken as it is, and left so', () => {
    const { group, cdev, [Symbol.dispose]: giveBack } = claim('0000:00:04.0');
    expect({ group, cdev }).toEqual({ group: 5, cdev: 7 });
    giveBack();
    expect(sysfs.driverOf('0000:00:04.0')).toBe('vfio-pci');
  });

  it.each(['00:04.0', '0000:00:04.0', '5'])('has the name %s', (name) => {
    expect(claim(name)).toMatchObject({ name, group: 5 });
  });

  it('has no file of its own on older kernels', () => {
    rmSync(sysfs.at('bus/pci/devices/0000:00:04.0/vfio-dev'), { recursive: true });
    expect(claim('0000:00:04.0').cdev).toBeNull();
  });
});

describe('a device that is not', () => {
  it("is refused, with its driver's name and what would take it", () => {
    const error = refusal(NIC);
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    expect(error.message).toBe(`device ${NIC} is in use by the host's driver e1000e`);
    expect(error.hint).toContain('--bind-device');
    expect(sysfs.driverOf(NIC)).toBe('e1000e');
    expect(refusal('0A:00.0').message).toBe('device 0000:0a:00.0 is not bound to vfio-pci');
  });

  it('is bound for as long as it is claimed', () => {
    const claimed = claim(NIC, true);
    expect(claimed).toMatchObject({ group: 4, cdev: 7 });
    expect(sysfs.driverOf(NIC)).toBe('vfio-pci');
    claimed[Symbol.dispose]();
    claimed[Symbol.dispose]();
    expect([sysfs.driverOf(NIC), sysfs.overrideOf(NIC)]).toEqual(['e1000e', '(null)']);
  });

  it('gets back what it had: no driver, and whom it was reserved for', () => {
    sysfs.native.set('0000:0a:00.0', 'e1000e');
    writeFileSync(sysfs.at('bus/pci/devices/0000:0a:00.0/driver_override'), 'pci-stub\n');
    claim('0000:0a:00.0', true)[Symbol.dispose]();
    expect([sysfs.driverOf('0000:0a:00.0'), sysfs.overrideOf('0000:0a:00.0')]).toEqual([undefined, 'pci-stub']);
  });

  it('keeps its driver where there is no vfio-pci', () => {
    rmSync(sysfs.root, { recursive: true });
    sysfs = new FakeSysfs({ [NIC]: { driver: 'e1000e', group: 4 } }, ['e1000e']);
    expect(refusal(NIC, true)).toMatchObject({ code: 'UNAVAILABLE', message: `vfio-pci did not take device ${NIC}` });
    expect([sysfs.driverOf(NIC), sysfs.overrideOf(NIC)]).toEqual(['e1000e', '(null)']);
  });

  it('keeps its driver without permission', () => {
    sysfs.refuses.set('unbind', 'EACCES');
    expect(refusal(NIC, true)).toMatchObject({
      code: 'UNAVAILABLE',
      message: `cannot bind device ${NIC}: EACCES`,
      hint: 'binding a driver needs root',
    });
    expect(sysfs.driverOf(NIC)).toBe('e1000e');
  });
});

describe('a group', () => {
  it('needs all of its devices but the bridges', () => {
    expect(refusal('7').message).toContain('0000:0c:00.1');
    const claimed = claim('7', true);
    expect(claimed).toMatchObject({ name: '7', group: 7, cdev: 7 });
    expect(['0000:0b:00.0', '0000:0c:00.0', '0000:0c:00.1'].map((address) => sysfs.driverOf(address))).toEqual([
      'pcieport',
      'vfio-pci',
      'vfio-pci',
    ]);
    claimed[Symbol.dispose]();
    expect([sysfs.driverOf('0000:0c:00.0'), sysfs.driverOf('0000:0c:00.1')]).toEqual(['vfio-pci', 'e1000e']);
  });

  it('of bridges is refused', () => {
    expect(refusal('8', true)).toMatchObject({ code: 'UNAVAILABLE' });
    expect(refusal('0000:0d:00.0', true).message).toContain('bridge');
    expect(sysfs.driverOf('0000:0d:00.0')).toBe('pcieport');
  });
});

describe('what is no such device', () => {
  it.each([
    ['eth0', 'USAGE', /"eth0" is no PCI address and no IOMMU group/],
    ['0000:00:03.9', 'USAGE', /no PCI address/],
    ['0000:00:1f.0', 'UNAVAILABLE', /there is no PCI device 0000:00:1f.0/],
    ['99', 'UNAVAILABLE', /there is no IOMMU group 99/],
    ['0000:00:05.0', 'UNAVAILABLE', /behind no IOMMU/],
  ])('%s', (name, code, message) => {
    const error = refusal(name, true);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(/\S/);
  });

  it('no name: those that are ready are named, and none is guessed', () => {
    expect(refusal(undefined)).toMatchObject({
      code: 'USAGE',
      hint: 'bound to vfio-pci here: 0000:00:04.0, 0000:0c:00.0',
    });
    rmSync(sysfs.at('bus'), { recursive: true });
    expect(refusal(undefined).hint).toContain('no device is bound to vfio-pci here');
    rmSync(sysfs.at('kernel'), { recursive: true });
    expect(refusal('4').hint).toContain('no IOMMU is in use');
  });
});
