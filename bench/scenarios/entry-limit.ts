/** Running into dma_entry_limit of vfio_iommu_type1: how many mappings a container may have, looked at when it is opened. */
import { readFileSync, writeFileSync } from 'node:fs';
import { PAGE_BYTES } from '../../capture/request.ts';
import { type VfioDevice } from '../../capture/dma/target.ts';
import { OpBatch, RamFlag } from '../../native/index.ts';
import type { Stage } from './stage.ts';

const PARAMETER = '/sys/module/vfio_iommu_type1/parameters/dma_entry_limit';
const LIMIT = 64;
/** Objects of the container under the limit, which the trace has not seen. */
const NUMBER = { ram: 120, container: 121 } as const;
const TYPE1V2 = 3;
const READ_WRITE = 3;

/** Only in the lab: the parameter is all of the host's. */
export async function reachEntryLimit(stage: Stage, device: VfioDevice): Promise<void> {
  if (process.env['CVMTRACE_LAB'] === undefined) {
    await stage.leaveOut(
      'dma-entry-limit',
      'dma_entry_limit is a parameter of the whole host, and is only written in cvmtrace lab',
    );
    return;
  }
  const before = readFileSync(PARAMETER, 'utf8');
  await stage.recorder.renew();
  await stage.phase(`dma_entry_limit ${LIMIT}`);
  writeFileSync(PARAMETER, `${LIMIT}\n`);
  try {
    await fillUp(stage, device);
  } finally {
    writeFileSync(PARAMETER, before);
  }
  stage.findings.expect('dma_entry_limit afterwards', readFileSync(PARAMETER, 'utf8').trim(), before.trim());
}

async function fillUp(stage: Stage, device: VfioDevice): Promise<void> {
  const { findings } = stage;
  const { ram, container } = NUMBER;
  const pages = 2 * LIMIT;
  await stage.need([
    ['ram_create', { obj: ram, len: pages * PAGE_BYTES, flags: RamFlag.memfd }, 'shared'],
    ['vfio_set_iommu', { obj: container, attrs: device.group, flags: TYPE1V2 }],
  ]);
  const available = async (): Promise<number | null> =>
    (await stage.one('vfio_iommu_get_info', { obj: container })).result;
  findings.expect('mappings that the container may have', await available(), LIMIT);
  const batch = new OpBatch(pages);
  for (let page = 0; page < pages; page++) {
    const at = page * PAGE_BYTES;
    batch.push('vfio_map_dma', {
      obj: container,
      gpa: at,
      offset: at,
      len: PAGE_BYTES,
      iova: at,
      flags: READ_WRITE,
      peer: ram,
    });
  }
  const rows = await stage.recorder.step(batch, { stopAtFailure: true });
  findings.expect('mappings before the failure', rows.filter(({ errno }) => errno === 0).length, LIMIT);
  findings.expect('the mapping after them', rows.at(-1)?.errnoName ?? null, 'ENOSPC');
  const undo = await stage.one('vfio_unmap_dma', {
    obj: container,
    gpa: 0,
    iova: 0,
    len: LIMIT * PAGE_BYTES,
    flags: 0,
  });
  findings.expect('bytes that the roll-back unmapped', undo.result, LIMIT * PAGE_BYTES);
  findings.expect('mappings that it may have after it', await available(), LIMIT);
}
