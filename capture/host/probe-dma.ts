import { PAGE_BYTES } from '../request.ts';
import { formatSize } from '../size.ts';
import {
  configOff,
  deniedDevice,
  isOff,
  isOlder,
  notPassedIn,
  tooOld,
  triedRow,
  type Evidence,
  type ProbeRow,
  type Reason,
} from './probe-row.ts';
import { iommuUnits } from './iommu.ts';
import type { ConfigSymbol } from './kernel-config.ts';

const AREA = 'dma';
/** What the module starts with (drivers/vfio/vfio_iommu_type1.c: U16_MAX). */
const DEFAULT_ENTRY_LIMIT = 65_535;
/** First kernel with /dev/vfio/devices. */
const CDEV_SINCE = '6.6';
const BIND = 'bind a device that the host can spare to vfio-pci (driverctl set-override ADDRESS vfio-pci)';

/** VFIO type1, iommufd and what they need. No device of the host is opened, bound or changed. */
export function dmaRows(evidence: Evidence): readonly ProbeRow[] {
  return [
    iommuRow(evidence),
    triedRow(evidence, {
      area: AREA,
      step: 'vfio-container',
      key: 'vfio.open',
      needs: '/dev/vfio/vfio',
      found: () => '/dev/vfio/vfio opens',
      reasons: deviceReasons(evidence, '/dev/vfio/vfio', 'CONFIG_VFIO', 'vfio'),
    }),
    triedRow(evidence, {
      area: AREA,
      step: 'type1',
      key: 'vfio.ext.type1v2',
      needs: '/dev/vfio/vfio',
      found: () => 'the VFIO container offers type1v2',
      accepts: (value = 0) => value > 0,
      symbol: 'CONFIG_VFIO_IOMMU_TYPE1',
      refused: {
        found: 'the VFIO container has no type1v2: vfio_iommu_type1 is not loaded',
        remedy: 'as root: modprobe vfio_iommu_type1',
      },
    }),
    vfioDevicesRow(evidence),
    cdevRow(evidence),
    entryLimitRow(evidence),
    triedRow(evidence, {
      area: AREA,
      step: 'iommufd',
      key: 'iommufd.open',
      needs: '/dev/iommu',
      found: () => '/dev/iommu opens',
      reasons: deviceReasons(evidence, '/dev/iommu', 'CONFIG_IOMMUFD', 'iommufd', '6.2'),
    }),
    triedRow(evidence, {
      area: AREA,
      step: 'ioas',
      key: 'iommufd.ioas_alloc',
      needs: '/dev/iommu',
      found: () => 'IOMMU_IOAS_ALLOC makes an address space (mapping in it pins nothing without a device)',
      since: '6.2',
    }),
    triedRow(evidence, {
      area: AREA,
      step: 'map-file',
      key: 'iommufd.ioas_map_file',
      needs: '/dev/iommu',
      found: () => 'IOMMU_IOAS_MAP_FILE maps a memfd without an address in the process',
      since: '6.13',
    }),
    triedRow(evidence, {
      area: AREA,
      step: 'fault-queue',
      key: 'iommufd.fault_queue_alloc',
      needs: '/dev/iommu',
      found: () => "IOMMU_FAULT_QUEUE_ALLOC makes a queue for devices' page requests",
      since: '6.11',
    }),
    mockRow(evidence),
  ];
}

/** Whether the kernel has IOMMU_TEST_CMD is one question, whether a page is really mapped in a mock device's page table the next. */
function mockRow(evidence: Evidence): ProbeRow {
  const mock = { area: AREA, step: 'mock', needs: '/dev/iommu', since: '6.2' } as const;
  if (evidence.attempts?.['iommufd.test']?.errno !== 0) {
    return triedRow(evidence, {
      ...mock,
      key: 'iommufd.test',
      found: () => 'IOMMU_TEST_CMD',
      symbol: 'CONFIG_IOMMUFD_TEST',
    });
  }
  const others = iommuUnits(evidence.files);
  return triedRow(evidence, {
    ...mock,
    key: 'iommufd.mock',
    needs: 'an address space of iommufd',
    found: () =>
      'a mock device: its page table held a page while it was mapped, so mappings pin memory without hardware',
    reasons:
      others.length === 0
        ? {}
        : {
            EINVAL: {
              found: `IOMMU_TEST_CMD makes no mock device while another IOMMU is in use (${others.join(', ')})`,
              remedy: 'boot with intel_iommu=off amd_iommu=off',
            },
          },
  });
}

function iommuRow(evidence: Evidence): ProbeRow {
  const { files } = evidence;
  const units = iommuUnits(files);
  const groups = files.list('/sys/kernel/iommu_groups').length;
  const row = { area: AREA, step: 'iommu' };
  if (units.length > 0) return { ...row, works: true, found: `${units.join(', ')}; ${groups} groups` };
  const none = 'no IOMMU is in use (/sys/class/iommu has none)';
  if (isOff(evidence, 'CONFIG_INTEL_IOMMU') && isOff(evidence, 'CONFIG_AMD_IOMMU')) {
    return {
      ...row,
      works: false,
      found: `${none}; CONFIG_INTEL_IOMMU and CONFIG_AMD_IOMMU are off`,
      remedy: 'boot a kernel with CONFIG_INTEL_IOMMU or CONFIG_AMD_IOMMU',
    };
  }
  return {
    ...row,
    works: false,
    found: none,
    remedy:
      'turn VT-d or AMD-Vi on in the firmware set-up and boot with intel_iommu=on; in a VM, give it an emulated IOMMU',
  };
}

/** Why a device file of VFIO or iommufd does not open, by errno. */
function deviceReasons(
  evidence: Evidence,
  path: string,
  symbol: ConfigSymbol,
  module: string,
  since?: string,
): Readonly<Record<string, Reason>> {
  const absent = whyAbsent(evidence, path, symbol, module, since);
  return {
    ENOENT: absent,
    ENODEV: absent,
    ENXIO: absent,
    EACCES: deniedDevice(evidence.files, path),
    EPERM: {
      found: `${path} is there, but the device rules of this container or cgroup forbid it`,
      remedy: `start the container with --device ${path}`,
    },
  };
}

function whyAbsent(evidence: Evidence, path: string, symbol: ConfigSymbol, module: string, since?: string): Reason {
  const said = `no ${path}`;
  if (since !== undefined && isOlder(evidence.release, since)) return tooOld(evidence.release, since, said);
  if (isOff(evidence, symbol)) return configOff(symbol, said);
  if (evidence.files.list(`/sys/module/${module}`).length > 0) return notPassedIn(path, module);
  return { found: `${said}: ${module} is not loaded`, remedy: `as root: modprobe ${module}` };
}

function vfioDevicesRow(evidence: Evidence): ProbeRow {
  const { files } = evidence;
  const groups = files.list('/dev/vfio').filter((name) => name !== 'vfio' && name !== 'devices');
  const devices = files.list('/dev/vfio/devices');
  const row = { area: AREA, step: 'vfio-device' };
  if (groups.length + devices.length > 0) {
    const parts = [
      ...(groups.length > 0 ? [`groups ${groups.join(', ')}`] : []),
      ...(devices.length > 0 ? [`cdev ${devices.join(', ')}`] : []),
    ];
    return { ...row, works: true, found: parts.join('; ') };
  }
  const unbound = 'no device is bound to a VFIO driver';
  if (isOff(evidence, 'CONFIG_VFIO')) return { ...row, works: false, ...configOff('CONFIG_VFIO', unbound) };
  return {
    ...row,
    works: false,
    found: unbound,
    remedy: BIND,
  };
}

function cdevRow(evidence: Evidence): ProbeRow {
  const { files, release } = evidence;
  const devices = files.list('/dev/vfio/devices');
  const row = { area: AREA, step: 'cdev' };
  if (devices.length > 0)
    return { ...row, works: true, found: devices.map((name) => `/dev/vfio/devices/${name}`).join(', ') };
  const none = 'no device can be bound to an iommufd: /dev/vfio/devices has none';
  if (isOlder(release, CDEV_SINCE)) return { ...row, works: false, ...tooOld(release, CDEV_SINCE, none) };
  const symbol = 'CONFIG_VFIO_DEVICE_CDEV';
  if (isOff(evidence, symbol)) return { ...row, works: false, ...configOff(symbol, none) };
  return { ...row, works: false, found: none, remedy: BIND };
}

function entryLimitRow(evidence: Evidence): ProbeRow {
  const row = { area: AREA, step: 'dma-entry-limit' };
  const path = '/sys/module/vfio_iommu_type1/parameters/dma_entry_limit';
  const limit = evidence.files.number(path);
  if (limit === undefined) {
    const none = 'no dma_entry_limit';
    if (isOff(evidence, 'CONFIG_VFIO_IOMMU_TYPE1'))
      return { ...row, works: false, ...configOff('CONFIG_VFIO_IOMMU_TYPE1', none) };
    const remedy = 'as root: modprobe vfio_iommu_type1';
    return { ...row, works: false, found: `${none}: vfio_iommu_type1 is not loaded`, remedy };
  }
  const found = `${limit} mappings in a container: ${formatSize(Math.floor((limit * PAGE_BYTES) / 2 ** 20) * 2 ** 20)} if each is of 4 KiB`;
  if (limit > DEFAULT_ENTRY_LIMIT) return { ...row, works: true, found };
  // The limit works as it is; a guest with more shared memory runs into it.
  return { ...row, works: true, found, remedy: `for more, as root: echo NUMBER > ${path}` };
}
