import { claimDevice } from '../../capture/dma/device.ts';
import type { VfioDevice } from '../../capture/dma/target.ts';
import type { StepRow } from '../../capture/record-steps.ts';
import { RamFlag } from '../../native/index.ts';
import { median, medianInterval } from '../stats/interval.ts';
import type { Cell, ReportColumn } from './scenario.ts';
import { defineScenario, type Operation, type Stage } from './stage.ts';

/** Objects of both halves; the second is in a session of its own, as a device has one owner. */
const NUMBER = { ram: 10, container: 11, file: 20, iommufd: 21, device: 22, ioas: 23 } as const;

/** Flags of linux/vfio.h: of maps and of unmaps VADDR is the same bit. */
const READ_WRITE = 3;
const VADDR = 4;
const UNMAP_ALL = 2;
const TYPE1V2 = 3;
/** IOMMU_IOAS_MAP_FIXED_IOVA | WRITEABLE | READABLE of linux/iommufd.h. */
const FIXED_READ_WRITE = 7;

/** The memory that is mapped: so many mappings side by side. */
interface Layout {
  readonly mappings: number;
  readonly bytes: number;
}

/** One way to get a mapping over an update. */
interface Way {
  readonly name: string;
  /** What a device's access sees meanwhile. */
  readonly device: 'goes on' | 'faults';
  readonly operations: readonly Operation[];
  /** Index of the operation with which mapping `i` is given up, and of that with which it is there again. */
  gap(mapping: number): readonly [from: number, to: number];
}

const COLUMNS: readonly ReportColumn[] = [
  { title: 'way', unit: 'text' },
  { title: 'device meanwhile', unit: 'text' },
  { title: 'mappings', unit: 'count' },
  { title: 'bytes each', unit: 'bytes' },
  { title: 'calls', unit: 'count' },
  { title: 'gap, median', unit: 'ns' },
  { title: 'gap, longest', unit: 'ns' },
  { title: 'all together', unit: 'ns' },
];

export const liveUpdate = defineScenario({
  name: 'live-update',
  summary: 'a VMM gives its mappings new virtual addresses, or unmaps and maps everything again',
  source:
    'QEMU cpr-exec and cpr-transfer (S. Sistare): VFIO_UPDATE_VADDR of Linux 5.12, IOMMU_IOAS_MAP_FILE and CHANGE_PROCESS of 6.13',
  needs: 'a device of vfio-pci for type1; /dev/iommu for the other half',
  dma: ['type1'],
  parameters: [
    { name: 'mappings', summary: 'mappings that live through it', unit: 'count', default: 64, min: 1, max: 60_000 },
    { name: 'size', summary: 'bytes of each', unit: 'bytes', default: 65_536, min: 4096, max: 2 ** 30 },
    { name: 'rounds', summary: 'timed rounds of each way', unit: 'count', default: 7, min: 1, max: 1000 },
  ],
  async play({ run, values: { mappings, size, rounds }, record }) {
    using device = run.device === undefined ? null : claimDevice(run.device, false);
    const layout = { mappings, bytes: size };
    return await record({ leftOut: [] }, async (stage) => {
      if (device) await updateType1(stage, device, layout, rounds);
      else await stage.leaveOut('type1', 'a container of type1 is nothing without a device: name one with --device');
      run.onProgress?.(0.5, 'iommufd');
      await stage.recorder.renew();
      await updateIommufd(stage, device, layout, rounds);
    });
  },
});

async function updateType1(stage: Stage, device: VfioDevice, layout: Layout, rounds: number): Promise<void> {
  const { findings } = stage;
  const total = layout.mappings * layout.bytes;
  await stage.phase('type1: map');
  await stage.need([
    ['ram_create', { obj: NUMBER.ram, len: total, flags: RamFlag.memfd }, 'shared'],
    ['vfio_set_iommu', { obj: NUMBER.container, attrs: device.group, flags: TYPE1V2 }],
    ...eachMapping(layout, mapDma(READ_WRITE)),
  ]);
  await tryVaddrRules(stage, layout);
  await compareWays(stage, 'type1', layout, rounds, [
    {
      name: 'new address, all at once',
      device: 'goes on',
      operations: [unmapAll(VADDR), ...eachMapping(layout, mapDma(VADDR))],
      gap: (mapping) => [0, mapping + 1],
    },
    {
      name: 'new address, one by one',
      device: 'goes on',
      operations: eachMapping(layout, unmapDma(VADDR), mapDma(VADDR)),
      gap: (mapping) => [2 * mapping, 2 * mapping + 1],
    },
    {
      name: 'unmap and map, all at once',
      device: 'faults',
      operations: [unmapAll(0), ...eachMapping(layout, mapDma(READ_WRITE))],
      gap: (mapping) => [0, mapping + 1],
    },
    {
      name: 'unmap and map, one by one',
      device: 'faults',
      operations: eachMapping(layout, unmapDma(0), mapDma(READ_WRITE)),
      gap: (mapping) => [2 * mapping, 2 * mapping + 1],
    },
  ]);
  const end = await stage.one('vfio_unmap_dma', { obj: NUMBER.container, iova: 0, len: 0, flags: UNMAP_ALL });
  findings.expect('bytes mapped after all updates', end.result, total);
}

/** What holds between giving an address up and giving a new one. */
async function tryVaddrRules(stage: Stage, layout: Layout): Promise<void> {
  const { findings } = stage;
  const container = NUMBER.container;
  const first = { iova: 0, len: layout.bytes };
  const map = (flags: number, iova: number): Parameters<Stage['expect']>[3] => ({
    obj: container,
    gpa: iova,
    offset: 0,
    len: layout.bytes,
    iova,
    flags,
    peer: NUMBER.ram,
  });
  await stage.phase('type1: rules of VADDR');
  await stage.expect('new address for a mapping that has one', 'EINVAL', 'vfio_map_dma', map(VADDR, 0));
  const beyond = layout.mappings * layout.bytes;
  await stage.expect('new address where nothing is mapped', 'ENOENT', 'vfio_map_dma', map(VADDR, beyond));
  const before = await stage.one('vfio_iommu_get_info', { obj: container });
  const given = await stage.one('vfio_unmap_dma', { obj: container, ...first, gpa: 0, flags: VADDR });
  findings.expect('bytes whose address is given up', given.result, layout.bytes);
  await stage.expect('giving it up again', 'EINVAL', 'vfio_unmap_dma', {
    obj: container,
    ...first,
    gpa: 0,
    flags: VADDR,
  });
  const during = await stage.one('vfio_iommu_get_info', { obj: container });
  findings.expect('mappings that the container may have, meanwhile', during.result, before.result ?? 'unknown');
  await stage.expect('mapping over it, meanwhile', 'EEXIST', 'vfio_map_dma', map(READ_WRITE, 0));
  await stage.expect('giving it the new address', '', 'vfio_map_dma', map(VADDR, 0));
}

async function updateIommufd(stage: Stage, device: VfioDevice | null, layout: Layout, rounds: number): Promise<void> {
  const total = layout.mappings * layout.bytes;
  await stage.phase('iommufd: map');
  const opened = await stage.one('iommufd_open', { obj: NUMBER.iommufd });
  if (opened.errno !== 0) {
    await stage.leaveOut('iommufd', 'there is no /dev/iommu that can be opened', opened.errnoName);
    return;
  }
  const cdev = device?.cdev ?? null;
  await stage.need([
    ['iommufd_ioas_alloc', { obj: NUMBER.ioas, peer: NUMBER.iommufd }],
    ['ram_create', { obj: NUMBER.file, len: total, flags: RamFlag.memfd }, 'shared'],
    ...(cdev === null
      ? []
      : ([
          ['vfio_device_bind_iommufd', { obj: NUMBER.device, peer: NUMBER.iommufd, attrs: cdev }],
          ['vfio_attach_iommufd_pt', { obj: NUMBER.device, peer: NUMBER.ioas }],
        ] satisfies Operation[])),
  ]);
  if (cdev === null)
    await stage.leaveOut('iommufd-device', 'no device is attached to the IOAS: its mappings pin nothing');

  const [byFile] = await stage.steps([mapIoas('iommufd_ioas_map_file')(0, layout)]);
  const hasFile = byFile?.errno === 0;
  if (hasFile) {
    await stage.need(eachMapping(layout, mapIoas('iommufd_ioas_map_file')).slice(1));
    await changeProcess(stage, layout, rounds);
    await stage.need([['iommufd_ioas_unmap', { obj: NUMBER.ioas }]]);
  } else {
    await stage.leaveOut('map-file', 'this kernel has no IOMMU_IOAS_MAP_FILE (Linux 6.13)', byFile?.errnoName);
    const change = await stage.one('iommufd_ioas_change_process', { obj: NUMBER.iommufd });
    if (change.errno !== 0)
      await stage.leaveOut(
        'change-process',
        'this kernel has no IOMMU_IOAS_CHANGE_PROCESS (Linux 6.13)',
        change.errnoName,
      );
  }
  const map = mapIoas('iommufd_ioas_map');
  await stage.need(eachMapping(layout, map));
  await compareWays(stage, cdev === null ? 'iommufd without a device' : 'iommufd', layout, rounds, [
    {
      name: 'unmap and map, all at once',
      device: 'faults',
      operations: [['iommufd_ioas_unmap', { obj: NUMBER.ioas }], ...eachMapping(layout, map)],
      gap: (mapping) => [0, mapping + 1],
    },
    {
      name: 'unmap and map, one by one',
      device: 'faults',
      operations: eachMapping(layout, unmapIoas, map),
      gap: (mapping) => [2 * mapping, 2 * mapping + 1],
    },
  ]);
}

/** Mappings by file have no virtual address that could be lost: one call, and only who is charged for pinned memory changes. */
async function changeProcess(stage: Stage, layout: Layout, rounds: number): Promise<void> {
  await compareWays(stage, 'iommufd by file', layout, rounds, [
    {
      name: 'change process',
      device: 'goes on',
      operations: [['iommufd_ioas_change_process', { obj: NUMBER.iommufd }]],
      gap: () => [0, 0],
    },
  ]);
}

/** Each way in turns, after a round that warms up, into a table. */
async function compareWays(
  stage: Stage,
  name: string,
  layout: Layout,
  rounds: number,
  ways: readonly Way[],
): Promise<void> {
  const gaps = ways.map((): number[] => []);
  const totals = ways.map((): number[] => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [index, way] of ways.entries()) {
      await stage.phase(`${name}: ${way.name}, round ${round}`);
      const rows = await stage.steps(way.operations);
      const failed = rows.find(({ errno }) => errno !== 0);
      if (failed || round === 0)
        stage.findings.expect(`${name}: ${way.name}`, failed ? `${failed.op} ${failed.errnoName}` : 'worked', 'worked');
      if (round === 0 || failed) continue;
      for (let i = 0; i < layout.mappings; i++) {
        const [from, to] = way.gap(i);
        gaps[index]?.push(timeBetween(rows[from], rows[to]));
      }
      totals[index]?.push(timeBetween(rows[0], rows.at(-1)));
    }
  }
  const base = totals.at(-1) ?? [];
  const against = ways.at(-1)?.name ?? '';
  stage.findings.tables.push({
    title: `${name}: ${rounds} rounds in turns`,
    columns: [...COLUMNS, ...(ways.length > 1 ? [{ title: `ratio to ${against}`, unit: 'ratio' } as const] : [])],
    rows: ways.map((way, index): Cell[] => [
      way.name,
      way.device,
      layout.mappings,
      layout.bytes,
      way.operations.length,
      median(gaps[index] ?? []),
      Math.max(...(gaps[index] ?? [])),
      medianInterval(totals[index] ?? []),
      ...(ways.length > 1
        ? [medianInterval((totals[index] ?? []).map((total, round) => total / (base[round] ?? NaN)))]
        : []),
    ]),
    notes: [
      'the gap of a mapping is from the call that gives it up to the end of the one that gives it back; between them, in an update, the new program starts',
    ],
  });
}

function timeBetween(from: StepRow | undefined, to: StepRow | undefined): number {
  return from && to ? to.tsNs + to.durNs - from.tsNs : NaN;
}

type OfMapping = (mapping: number, layout: Layout) => Operation;

/** The operations of the first mapping, of the second, and so on. */
function eachMapping(layout: Layout, ...operations: readonly OfMapping[]): Operation[] {
  return Array.from({ length: layout.mappings }, (_, mapping) =>
    operations.map((operation) => operation(mapping, layout)),
  ).flat();
}

function mapDma(flags: number): OfMapping {
  return (mapping, { bytes }) => {
    const at = mapping * bytes;
    return [
      'vfio_map_dma',
      { obj: NUMBER.container, gpa: at, offset: at, len: bytes, iova: at, flags, peer: NUMBER.ram },
    ];
  };
}

function unmapDma(flags: number): OfMapping {
  return (mapping, { bytes }) => {
    const at = mapping * bytes;
    return ['vfio_unmap_dma', { obj: NUMBER.container, gpa: at, len: bytes, iova: at, flags }];
  };
}

function unmapAll(flags: number): Operation {
  return ['vfio_unmap_dma', { obj: NUMBER.container, iova: 0, len: 0, flags: flags | UNMAP_ALL }];
}

function mapIoas(op: 'iommufd_ioas_map' | 'iommufd_ioas_map_file'): OfMapping {
  return (mapping, { bytes }) => {
    const at = mapping * bytes;
    const place = { gpa: at, offset: at, len: bytes, iova: at };
    return [op, { obj: NUMBER.ioas, ...place, flags: FIXED_READ_WRITE, peer: NUMBER.file }];
  };
}

const unmapIoas: OfMapping = (mapping, { bytes }) => [
  'iommufd_ioas_unmap',
  { obj: NUMBER.ioas, gpa: mapping * bytes, len: bytes, iova: mapping * bytes },
];
