import { tryOperations } from '../../capture/backends/trial.ts';
import { claimDevice } from '../../capture/dma/device.ts';
import type { VfioDevice } from '../../capture/dma/target.ts';
import type { StepRow } from '../../capture/record-steps.ts';
import { CvmtraceError, type Native, RamFlag } from '../../native/index.ts';
import { median, medianInterval } from '../stats/interval.ts';
import { defineScenario, type Operation, type Stage } from './stage.ts';

const MIB = 2 ** 20;
/** The mock's aperture begins here. */
const IOVA = 16 * MIB;

const NUMBER = {
  iommufd: 1,
  ioas: 2,
  mock: 3,
  ram: 4,
  parent: 5,
  nested: 6,
  queue: 7,
  faulting: 8,
  faultingMock: 9,
} as const;
/** Objects that are made and destroyed again to time it. */
const FIRST_OF_ROUNDS = 1000;
/** Objects of the half with a device of VFIO. */
const VFIO = { iommufd: 20, device: 21, ioas: 22, table: 23, other: 24 } as const;

/** attrs of an HWPT: the device's number above the data type. */
const OF_DEVICE = 2 ** 32;
const DATA_NONE = 0;
/** IOMMU_HWPT_DATA_SELFTEST and IOMMU_HWPT_INVALIDATE_DATA_SELFTEST of iommufd_test.h. */
const DATA_SELFTEST = 0xdead;
const INVALIDATE_SELFTEST = 0xdead_beef;
const NEST_PARENT = 1;
const FAULT_ID_VALID = 4;
const ENTRY_BYTES = 8;
const INVALIDATIONS = [1, 16, 256] as const;
/** IOMMU_IOAS_MAP_FIXED_IOVA | WRITEABLE | READABLE of linux/iommufd.h. */
const FIXED_READ_WRITE = 7;
/** VFIO_DEVICE_ATTACH_PASID of linux/vfio.h. */
const ATTACH_PASID = 1;

/** Times of each operation, ns, in the order in which they were first seen. */
type Times = Map<string, number[]>;

export const nested = defineScenario({
  name: 'nested',
  summary: 'a guest with an IOMMU of its own: nesting parent, nested page table, invalidation, page faults of a device',
  source: 'iommufd nesting of Linux 6.6 to 6.11 (Y. Liu, N. Chen, L. Baolu): uapi/linux/iommufd.h and its selftests',
  needs: 'CONFIG_IOMMUFD_TEST and no other IOMMU of vtd or amd in use',
  dma: ['mock'],
  parameters: [{ name: 'repeats', summary: 'calls of each operation', unit: 'count', default: 50, min: 6, max: 2000 }],
  async play({ run, values: { repeats }, record }) {
    await assertMock(run.native);
    using device = run.device === undefined ? null : claimDevice(run.device, false);
    return await record({ leftOut: [] }, async (stage) => {
      const times: Times = new Map();
      await buildTables(stage);
      run.onProgress?.(0.2, 'tables');
      await timeTables(stage, times, repeats);
      run.onProgress?.(0.5, 'invalidation');
      await invalidate(stage, times, repeats);
      run.onProgress?.(0.7, 'faults');
      await answerFaults(stage, times, repeats);
      run.onProgress?.(0.9, 'attachment');
      await attach(stage, device, times, repeats);
      tabulate(stage, times);
    });
  },
});

async function assertMock(native: Native): Promise<void> {
  const failed = await tryMock(native);
  if (failed === undefined) return;
  throw new CvmtraceError('UNAVAILABLE', `the mock of iommufd does not work here: ${failed}`, {
    hint: 'it needs CONFIG_IOMMUFD_TEST and no other IOMMU in use: cvmtrace lab run --iommu virtio',
  });
}

/** Parent and nested page table, and what the interface promises of them. */
async function buildTables(stage: Stage): Promise<void> {
  await stage.phase('page tables');
  await stage.need([...MOCK_SET_UP, mapMemory()]);
  await stage.expect('a parent for nesting', '', 'iommufd_hwpt_alloc', hwpt(NUMBER.parent, NUMBER.ioas, NEST_PARENT));
  await stage.expect('a nested page table', '', 'iommufd_hwpt_alloc', nestedHwpt(NUMBER.nested));
  const { findings } = stage;
  const unfit = await stage.one('iommufd_hwpt_alloc', {
    ...hwpt(FIRST_OF_ROUNDS, NUMBER.ioas, 0),
    attrs: NUMBER.mock * OF_DEVICE + DATA_SELFTEST,
  });
  findings.check('a nested page table without a parent', unfit.errno !== 0, unfit.errnoName || 'success', 'refused');
  const busy = await stage.one('iommufd_destroy', { obj: NUMBER.parent });
  findings.expect('destroying a parent that has a nested one', busy.errnoName, 'EBUSY');
}

async function timeTables(stage: Stage, times: Times, repeats: number): Promise<void> {
  await stage.phase('cost of page tables');
  const operations: Operation[] = [];
  for (let i = 0; i < repeats; i++) {
    const obj = FIRST_OF_ROUNDS + i;
    operations.push(
      ['iommufd_hwpt_alloc', hwpt(obj, NUMBER.ioas, NEST_PARENT), 'nesting parent'],
      ['iommufd_destroy', { obj }, 'nesting parent'],
    );
  }
  for (let i = 0; i < repeats; i++) {
    const obj = FIRST_OF_ROUNDS + repeats + i;
    operations.push(
      ['iommufd_hwpt_alloc', nestedHwpt(obj), 'nested page table'],
      ['iommufd_destroy', { obj }, 'nested page table'],
    );
  }
  await timed(stage, times, operations);
}

async function invalidate(stage: Stage, times: Times, repeats: number): Promise<void> {
  await stage.phase('invalidation');
  const of = (entries: number): Operation[1] => ({
    obj: NUMBER.nested,
    attrs: INVALIDATE_SELFTEST,
    len: entries * ENTRY_BYTES,
  });
  for (const entries of INVALIDATIONS) {
    const row = await stage.one('iommufd_hwpt_invalidate', of(entries));
    stage.findings.expect(`entries done of ${entries}`, row.result, entries);
  }
  // ENOENT up to 6.12, EINVAL from 6.13 on, where the id may also be that of a virtual IOMMU.
  const { errnoName } = await stage.one('iommufd_hwpt_invalidate', { ...of(1), obj: NUMBER.parent });
  const refused = errnoName === 'ENOENT' || errnoName === 'EINVAL';
  stage.findings.check('invalidating a table that is not nested', refused, errnoName || 'success', 'ENOENT or EINVAL');
  // In turns, so that all sizes meet the same machine.
  const operations = Array.from({ length: repeats }, () =>
    INVALIDATIONS.map((entries): Operation => ['iommufd_hwpt_invalidate', of(entries), `${entries} entries`]),
  ).flat();
  await timed(stage, times, operations);
}

async function answerFaults(stage: Stage, times: Times, repeats: number): Promise<void> {
  const { findings } = stage;
  await stage.phase('page faults of a device');
  const queue = await stage.one('iommufd_fault_queue_alloc', { obj: NUMBER.queue, peer: NUMBER.iommufd });
  if (queue.errno !== 0) {
    await stage.leaveOut('fault-queue', 'this kernel has no IOMMU_FAULT_QUEUE_ALLOC (Linux 6.11)', queue.errnoName);
    return;
  }
  await stage.expect('a nested page table with a fault queue', '', 'iommufd_hwpt_alloc', {
    ...nestedHwpt(NUMBER.faulting),
    flags: FAULT_ID_VALID,
    offset: NUMBER.queue,
  });
  await stage.expect('a device on it', '', 'iommufd_test_mock_domain', {
    obj: NUMBER.faultingMock,
    peer: NUMBER.faulting,
  });
  const none = await stage.one('iommufd_fault_respond', { obj: NUMBER.queue });
  findings.expect('faults in the queue before there is one', none.result, 0);
  const operations = Array.from({ length: repeats }, (_, i): Operation[] => [
    ['iommufd_test_trigger_iopf', { obj: NUMBER.faultingMock, iova: IOVA + i * 4096, attrs: i, flags: 1 }, 'fault'],
    ['iommufd_fault_respond', { obj: NUMBER.queue }, 'read and answer'],
  ]).flat();
  const rows = await timed(stage, times, operations);
  const answered = rows.reduce((sum, row) => sum + (row.op === 'iommufd_fault_respond' ? (row.result ?? 0) : 0), 0);
  findings.expect('faults answered', answered, repeats);
}

/** Attaching needs a device: a mock only ever gets its page table at its birth. */
async function attach(stage: Stage, device: VfioDevice | null, times: Times, repeats: number): Promise<void> {
  await stage.phase('attachment');
  await timed(
    stage,
    times,
    Array.from({ length: repeats }, (_, i): Operation[] => {
      const obj = FIRST_OF_ROUNDS + 2 * repeats + i;
      return [
        ['iommufd_test_mock_domain', { obj, peer: NUMBER.nested }, 'mock device on a nested page table'],
        ['iommufd_destroy', { obj }, 'mock device'],
      ];
    }).flat(),
  );
  if (device?.cdev == null) {
    await stage.leaveOut('attach', 'replacing a page table and attaching by PASID need a device with a cdev: --device');
    return;
  }
  const { iommufd, ioas, table, other } = VFIO;
  const bound = await stage.steps([
    ['iommufd_open', { obj: iommufd }],
    ['vfio_device_bind_iommufd', { obj: VFIO.device, peer: iommufd, attrs: device.cdev }],
    ['iommufd_ioas_alloc', { obj: ioas, peer: iommufd }],
    ['iommufd_hwpt_alloc', { obj: table, peer: ioas, attrs: VFIO.device * OF_DEVICE + DATA_NONE, flags: 0 }],
    ['iommufd_hwpt_alloc', { obj: other, peer: ioas, attrs: VFIO.device * OF_DEVICE + DATA_NONE, flags: 0 }],
  ]);
  const failed = bound.find(({ errno }) => errno !== 0);
  if (failed) {
    await stage.leaveOut('attach', `${failed.op} of the device fails`, failed.errnoName);
    return;
  }
  const to = (peer: number): Operation[1] => ({ obj: VFIO.device, peer });
  await stage.expect('attaching the device', '', 'vfio_attach_iommufd_pt', to(table));
  const rows = await timed(
    stage,
    times,
    Array.from({ length: repeats }, (): Operation[] => [
      ['vfio_attach_iommufd_pt', to(other), 'replace'],
      ['vfio_attach_iommufd_pt', to(table), 'replace'],
    ]).flat(),
  );
  stage.findings.expect('replacements that failed', rows.filter(({ errno }) => errno !== 0).length, 0);
  const pasid = await stage.one('vfio_attach_iommufd_pt', { ...to(other), flags: ATTACH_PASID, attrs: 1 });
  if (pasid.errno !== 0)
    await stage.leaveOut(
      'pasid-attach',
      'this kernel (Linux 6.15 has it) or this device does not attach by PASID',
      pasid.errnoName,
    );
  await stage.expect('detaching the device', '', 'vfio_detach_iommufd_pt', { obj: VFIO.device });
}

/** Executes operations, each named by its detail in the table. */
async function timed(stage: Stage, times: Times, operations: readonly Operation[]): Promise<StepRow[]> {
  const rows = await stage.steps(operations);
  for (const [index, row] of rows.entries()) {
    const [op, , detail = ''] = operations[index] ?? ['', {}];
    if (row.errno !== 0) {
      stage.findings.expect(`${op}, ${detail}`, row.errnoName, 'success');
      continue;
    }
    const name = `${op} (${detail})`;
    const of = times.get(name) ?? [];
    of.push(row.durNs);
    times.set(name, of);
  }
  return rows;
}

function tabulate(stage: Stage, times: Times): void {
  const cheapest = Math.min(...[...times.values()].map(median));
  stage.findings.tables.push({
    title: 'What each operation costs',
    columns: [
      { title: 'operation', unit: 'text' },
      { title: 'calls', unit: 'count' },
      { title: 'median', unit: 'ns' },
      { title: 'ratio to the cheapest', unit: 'ratio' },
    ],
    rows: [...times].map(([name, of]) => {
      const { value, low, high, runs } = medianInterval(of);
      return [
        name,
        of.length,
        value,
        {
          value: value / cheapest,
          low: low === null ? null : low / cheapest,
          high: high === null ? null : high / cheapest,
          runs,
        },
      ];
    }),
    notes: ['of a mock: what iommufd itself costs, without an IOTLB and without hardware'],
  });
}

const MOCK_SET_UP: readonly Operation[] = [
  ['iommufd_open', { obj: NUMBER.iommufd }],
  ['iommufd_ioas_alloc', { obj: NUMBER.ioas, peer: NUMBER.iommufd }],
  ['iommufd_test_mock_domain', { obj: NUMBER.mock, peer: NUMBER.ioas }],
  ['ram_create', { obj: NUMBER.ram, len: 2 * MIB, flags: RamFlag.memfd }, 'shared'],
];

function mapMemory(): Operation {
  const place = { gpa: 0, offset: 0, len: 2 * MIB, iova: IOVA };
  return ['iommufd_ioas_map', { obj: NUMBER.ioas, ...place, flags: FIXED_READ_WRITE, peer: NUMBER.ram }];
}

function hwpt(obj: number, peer: number, flags: number): Operation[1] {
  return { obj, peer, attrs: NUMBER.mock * OF_DEVICE + DATA_NONE, flags };
}

function nestedHwpt(obj: number): Operation[1] {
  return { obj, peer: NUMBER.parent, attrs: NUMBER.mock * OF_DEVICE + DATA_SELFTEST, flags: 0 };
}

/** The call that fails, with its errno; undefined if the mock works. */
async function tryMock(native: Native): Promise<string | undefined> {
  const tried = await tryOperations(native, MOCK_SET_UP);
  const failed = tried.findIndex(({ errno }) => errno !== 0);
  return failed < 0 ? undefined : `${MOCK_SET_UP[failed]?.[0] ?? ''}: ${tried[failed]?.errnoName ?? ''}`;
}
