import { totalmem } from 'node:os';
import { CvmtraceError } from '../../native/index.ts';
import { unknownName } from '../../capture/unknown-name.ts';
import { formatSize } from '../../capture/size.ts';

/** The IOMMU that QEMU emulates. `virtio` leaves the mock domain of iommufd usable: VT-d and AMD-Vi take it over (fwnode NULL in iommu.c). */
export const IOMMUS = ['virtio', 'vtd', 'amd', 'none'] as const;
export type Iommu = (typeof IOMMUS)[number];

/** Where the device is, whatever else the machine has. */
export const DEVICE_ADDRESS = '0000:00:10.0';
const DEVICE_SLOT = '10';

/** A PCI device to pass on, by its PCI id: one in a group of its own, that no driver of the lab's kernel takes. */
export const DEVICES = { e1000e: '8086:10d3', edu: '1234:11e8', none: '' } as const;
export type Device = keyof typeof DEVICES;

export interface Machine {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly iommu: Iommu;
  readonly device: Device;
}

/** A folder of the host that is writable inside, at the same path. */
export interface Share {
  readonly tag: string;
  readonly path: string;
}

const MAX_CPUS = 32;
const LEAST_MEMORY = 512 * 2 ** 20;

/** What the kernel itself is told. The lab trusts its own emulated devices, so that an IOMMU without interrupt remapping will do. */
const KERNEL_PARAMETERS: Readonly<Record<Iommu, string>> = {
  virtio: 'vfio_iommu_type1.allow_unsafe_interrupts=1 iommufd.allow_unsafe_interrupts=1',
  vtd: 'intel_iommu=on',
  amd: 'amd_iommu=on',
  none: 'intel_iommu=off amd_iommu=off',
};

const IOMMU_DEVICES: Readonly<Record<Iommu, readonly string[]>> = {
  virtio: ['-device', 'virtio-iommu-pci'],
  vtd: ['-device', 'intel-iommu,caching-mode=on,intremap=on'],
  amd: ['-device', 'amd-iommu'],
  none: [],
};

export function parseIommu(text: string): Iommu {
  const iommu = IOMMUS.find((name) => name === text);
  if (iommu === undefined) throw unknownName('IOMMU', text, IOMMUS);
  return iommu;
}

export function parseDevice(text: string): Device {
  const names = Object.keys(DEVICES) as Device[];
  const device = names.find((name) => name === text);
  if (device === undefined) throw unknownName('device', text, names);
  return device;
}

/** @throws CvmtraceError USAGE for a machine that cannot be, UNAVAILABLE for one that does not fit in this host */
export function assertMachine({ cpus, memoryBytes }: Machine): void {
  if (cpus < 1 || cpus > MAX_CPUS) {
    throw new CvmtraceError('USAGE', `--cpus cannot be ${cpus}`, { hint: `from 1 to ${MAX_CPUS}` });
  }
  if (memoryBytes < LEAST_MEMORY || memoryBytes % 2 ** 20 !== 0) {
    throw new CvmtraceError('USAGE', `--memory cannot be ${formatSize(memoryBytes)}`, {
      hint: `whole MiB, at least ${formatSize(LEAST_MEMORY)}: Node alone needs some of it`,
    });
  }
  if (memoryBytes > totalmem()) {
    throw new CvmtraceError('UNAVAILABLE', `--memory ${formatSize(memoryBytes)} is more than this host has`, {
      hint: `it has ${Math.floor(totalmem() / 2 ** 20)}M`,
    });
  }
}

/** File descriptors of the QEMU process, after 0 to 2: sockets that end in the guest's ports of the same names. */
export const PORTS = ['control', 'stdin', 'stdout', 'stderr'] as const;
export type Port = (typeof PORTS)[number];
export const FIRST_PORT_FD = 3;

/**
 * Arguments of qemu-system-x86_64. The root of the host is exported read-only, the shares writable; as root with the files' owners as they are,
 * else all files that are made belong to the user.
 */
export function qemuArguments(machine: Machine, image: string, init: string, shares: readonly Share[]): string[] {
  const model = process.getuid?.() === 0 ? 'passthrough' : 'none';
  const export9p = (tag: string, path: string, more: string): string[] => [
    '-fsdev',
    `local,id=${tag},path=${path.replaceAll(',', ',,')},security_model=${model},multidevs=remap${more}`,
    '-device',
    `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`,
  ];
  const parameters = [
    'console=ttyS0 quiet panic=-1 oops=panic softlockup_panic=1 hung_task_panic=1',
    'root=hostroot rootfstype=9p rootflags=trans=virtio,version=9p2000.L,msize=524288,cache=loose ro',
    KERNEL_PARAMETERS[machine.iommu],
    `init=${init}`,
  ];
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
    // One host thread for all CPUs: with one each, QEMU 7.2 now and then lets a nested guest of several vCPUs fault on its own page tables (three of
    // four boots with two vCPUs ended in a triple fault; none did on one thread), and such boots take no less time.
    ...['-machine', 'q35', '-accel', 'tcg,thread=single', '-cpu', 'EPYC,+svm,+npt'],
    ...['-smp', String(machine.cpus), '-m', `${machine.memoryBytes / 2 ** 20}M`],
    ...['-kernel', image, '-append', parameters.join(' ')],
    ...IOMMU_DEVICES[machine.iommu],
    // Without its boot ROM, which would look for a network to boot from.
    ...(machine.device === 'none'
      ? []
      : ['-device', `${machine.device},addr=${DEVICE_SLOT}${machine.device === 'e1000e' ? ',romfile=' : ''}`]),
    ...['-device', `virtio-serial-pci,max_ports=${PORTS.length + 1}`],
    ...PORTS.flatMap((port, i) => [
      ...['-chardev', `socket,id=${port},fd=${FIRST_PORT_FD + i}`],
      ...['-device', `virtserialport,chardev=${port},name=cvmtrace.${port},nr=${i + 1}`],
    ]),
    ...export9p('hostroot', '/', ',readonly=on'),
    ...shares.flatMap(({ tag, path }) => export9p(tag, path, '')),
  ];
}
