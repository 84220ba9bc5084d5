/** An unmap that ends inside a mapping, and what each interface makes of it. */
import { ObjectNumber } from '../../capture/backends/backend.ts';
import type { DmaTarget, MemoryPart, VfioDevice } from '../../capture/dma/target.ts';
import { OpBatch, RamFlag } from '../../native/index.ts';
import { type Answer, MappingModel, type MappingRules } from '../dma/mapping-model.ts';
import type { Operation, Stage } from './stage.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Two mappings side by side, and a range that takes all of the first and a page of the second. */
const FIRST: MemoryPart = { gpa: 0, offset: 0, len: 64 * KIB };
const SECOND: MemoryPart = { gpa: 64 * KIB, offset: 64 * KIB, len: 2 * MIB };
const MISFIT: MemoryPart = { gpa: 0, offset: 0, len: 68 * KIB };
export const MISFIT_BYTES = FIRST.len + SECOND.len;

/** Place of `iova` in an operation's words. */
const IOVA_WORD = 10;

/** Number of a mock device whose page table can be asked; undefined elsewhere. */
type Mock = number | undefined;

/** On the interface that is open: nothing is mapped before and after. */
export async function tryMisfit(stage: Stage, target: DmaTarget, rules: MappingRules, mock: Mock): Promise<void> {
  await stage.phase('an unmap that does not fit');
  const model = new MappingModel(rules);
  const pieces = { FIRST, SECOND };
  for (const part of Object.values(pieces)) {
    const [row] = await stage.recorder.step(planned(target, 'map', part));
    stage.judge(`map of ${part.len / KIB}K`, row?.errnoName ?? 'no row');
    model.map(part.gpa, part.len);
  }
  if (mock !== undefined) for (const part of Object.values(pieces)) await checkMapped(stage, target, mock, part, true);
  await unmap(stage, target, model, MISFIT, 'unmap of a mapping of 64K and 4K of the next');
  if (mock !== undefined) {
    await checkMapped(stage, target, mock, FIRST, model.sizeAt(FIRST.gpa) > 0);
    await checkMapped(stage, target, mock, SECOND, model.sizeAt(SECOND.gpa) > 0);
  }
  await unmap(stage, target, model, FIRST, 'after it, unmap of the 64K');
  await unmap(stage, target, model, SECOND, 'after it, unmap of the 2M');
  stage.findings.expect('mappings left', model.count, 0);
}

async function unmap(
  stage: Stage,
  target: DmaTarget,
  model: MappingModel,
  part: MemoryPart,
  what: string,
): Promise<void> {
  const answer = model.unmap(part.gpa, part.len);
  const [row] = await stage.recorder.step(planned(target, 'unmap', part));
  if (!row) throw new Error('a row for each operation');
  stage.findings.expect(what, describe({ errno: row.errnoName, bytes: row.result ?? 0 }), describe(answer));
}

function describe({ errno, bytes }: Answer): string {
  return errno === '' ? `${bytes} bytes unmapped` : errno;
}

/** The proof: the mock's page table has, or has not, just these pages of the backing memory there. */
export async function checkMapped(
  stage: Stage,
  target: DmaTarget,
  mock: number,
  part: MemoryPart,
  mapped: boolean,
): Promise<void> {
  const iova = planned(target, 'map', part).words[IOVA_WORD] ?? 0;
  const row = await stage.one('iommufd_test_md_check_map', { obj: mock, ...part, iova, peer: ObjectNumber.shared });
  stage.findings.expect(
    `page table of the mock at ${part.gpa / KIB}K, ${part.len / KIB}K`,
    row.errno === 0 ? 'mapped' : 'not mapped',
    mapped ? 'mapped' : 'not mapped',
  );
}

/** One operation of the target, as a batch. */
function planned(target: DmaTarget, what: 'map' | 'unmap', part: MemoryPart): OpBatch {
  const batch = new OpBatch(1);
  if (what === 'map') target.map(batch, part, ObjectNumber.shared, 0);
  else target.unmap(batch, part, 0);
  return batch;
}

/** Objects of the two further containers, which the trace has not seen. */
const NUMBERS = [
  { ram: 100, iommufd: 101, ioas: 102, container: 103 },
  { ram: 110, iommufd: 111, ioas: 112, container: 113 },
] as const;

/** VFIO_TYPE1_IOMMU and VFIO_TYPE1v2_IOMMU of linux/vfio.h. */
const TYPE1 = 1;
const TYPE1V2 = 3;
/** IOMMU_OPTION_HUGE_PAGES of linux/iommufd.h. */
const HUGE_PAGES = 1;

/**
 * The one way to divide a mapping: the compatibility mode without large pages, either way to turn them off. Everything that was open is closed
 * before, as a group has one container.
 */
export async function tryCut(stage: Stage, device: VfioDevice): Promise<void> {
  for (const [index, numbers] of NUMBERS.entries()) {
    const { ram, iommufd, ioas, container } = numbers;
    const byOption = index === 1;
    const way = byOption ? 'OPTION HUGE_PAGES 0' : 'SET_IOMMU TYPE1';
    await stage.recorder.renew();
    await stage.phase(`large pages off: ${way}`);
    const option: readonly Operation[] = [
      ['iommufd_ioas_alloc', { obj: ioas, peer: iommufd }],
      ['iommufd_option', { obj: ioas, attrs: HUGE_PAGES, flags: 0 }],
      ['iommufd_vfio_ioas', { obj: iommufd, peer: ioas }],
    ];
    const map = (part: MemoryPart): Operation => [
      'vfio_map_dma',
      { obj: container, ...part, iova: part.gpa, flags: 3, peer: ram },
    ];
    await stage.need([
      ['ram_create', { obj: ram, len: MISFIT_BYTES, flags: RamFlag.memfd }, 'shared'],
      ['iommufd_open', { obj: iommufd }],
      ...(byOption ? option : []),
      ['vfio_set_iommu', { obj: container, attrs: device.group, flags: byOption ? TYPE1V2 : TYPE1, peer: iommufd }],
      map(FIRST),
      map(SECOND),
    ]);
    const model = new MappingModel('iommufd-cut');
    for (const part of [FIRST, SECOND]) model.map(part.gpa, part.len);
    for (const part of [MISFIT, { gpa: MIB, offset: MIB, len: 4 * KIB }]) {
      const answer = model.unmap(part.gpa, part.len);
      const row = await stage.one('vfio_unmap_dma', {
        obj: container,
        gpa: part.gpa,
        len: part.len,
        iova: part.gpa,
        flags: 0,
      });
      stage.findings.expect(
        `${way}: unmap of ${part.len / KIB}K at ${part.gpa / KIB}K`,
        describe({ errno: row.errnoName, bytes: row.result ?? 0 }),
        describe(answer),
      );
    }
    const rest = await stage.one('vfio_unmap_dma', { obj: container, iova: 0, len: 0, flags: 2 });
    stage.findings.expect(`${way}: bytes left`, rest.result, model.clear());
  }
}
