/** What lab tests share: they run inside the emulated host, as root, with one of its two kinds of boot. */
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { basename, join } from 'node:path';
import type { NativeSession, OpName, Operands } from '../index.ts';
import { loadNative } from '../index.ts';
import { rowsOf, wordsOf, type Row } from './rows.ts';

/** True in a lab that was booted with an IOMMU, and so has VFIO devices; without one the mock of iommufd works instead. */
export const HAS_IOMMU =
  existsSync('/sys/class/iommu') && readdirSync('/sys/class/iommu').some((name) => /^(dmar|ivhd)/.test(name));

const [major = 0, minor = 0] = release().split('.').map(Number);
/** By the kernel's age, so that a lab kernel which should have it and has not fails its tests. */
export const HAS_IOMMUFD = major > 6 || (major === 6 && minor >= 2);

/** A row, with what came of it in one word: "ok" or the errno's name. */
export type Outcome = Row & { readonly outcome: string };

/** Executes operations as one batch. */
export async function perform(
  session: NativeSession,
  operations: readonly (readonly [OpName, Operands])[],
): Promise<readonly Outcome[]> {
  const native = loadNative();
  return rowsOf(await session.execute(wordsOf(operations))).map((row) => ({
    ...row,
    outcome: row.errno === 0 ? 'ok' : native.errnoName(row.errno ?? -1),
  }));
}

/** What came of each operation, in order. */
export async function outcomes(
  session: NativeSession,
  operations: readonly (readonly [OpName, Operands])[],
): Promise<readonly string[]> {
  return (await perform(session, operations)).map(({ outcome }) => outcome);
}

/** True once the kernel has warned (WARN_ON) of anything since it booted. */
export function kernelWarned(): boolean {
  const TAINT_WARN = 1 << 9;
  return (Number(readFileSync('/proc/sys/kernel/tainted', 'utf8')) & TAINT_WARN) !== 0;
}

export interface LabDevice {
  readonly address: string;
  /** Number of its IOMMU group, /dev/vfio/GROUP. */
  readonly group: number;
  /** N of /dev/vfio/devices/vfioN; NaN in a kernel without iommufd. */
  readonly cdev: number;
}

/** The lab's network card, bound to vfio-pci. */
export function bindLabDevice(): LabDevice {
  const PCI = '/sys/bus/pci/devices';
  const ETHERNET = '0x020000';
  const address = readdirSync(PCI).find((name) => readFileSync(join(PCI, name, 'class'), 'utf8').trim() === ETHERNET);
  if (address === undefined) throw new Error('this lab was booted without a network card');
  const device = join(PCI, address);
  const driver = () =>
    existsSync(join(device, 'driver')) ? basename(readlinkSync(join(device, 'driver'))) : undefined;
  if (driver() !== 'vfio-pci') {
    writeFileSync(join(device, 'driver_override'), 'vfio-pci');
    if (driver() !== undefined) writeFileSync(join(device, 'driver', 'unbind'), address);
    writeFileSync('/sys/bus/pci/drivers_probe', address);
  }
  const [file] = HAS_IOMMUFD ? readdirSync(join(device, 'vfio-dev')) : [];
  return {
    address,
    group: Number(basename(readlinkSync(join(device, 'iommu_group')))),
    cdev: Number(file?.replace('vfio', '')),
  };
}
