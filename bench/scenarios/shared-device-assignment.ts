import { ObjectNumber } from '../../capture/backends/backend.ts';
import { openBackend } from '../../capture/backends/index.ts';
import { claimDevice } from '../../capture/dma/device.ts';
import { withDma } from '../../capture/dma/open.ts';
import type { DmaInterface, DmaTarget } from '../../capture/dma/target.ts';
import { PAGE_BYTES } from '../../capture/request.ts';
import { OpBatch } from '../../native/index.ts';
import { ConversionManager } from './conversion-manager.ts';
import { reachEntryLimit } from './entry-limit.ts';
import { compareGranularities, LEAST_MEMORY } from './granularities.ts';
import { MappingModel, type MappingRules } from '../dma/mapping-model.ts';
import { checkMapped, tryCut, tryMisfit } from './misfit.ts';
import { PageTracker } from '../dma/page-tracker.ts';
import { defineScenario, type Stage } from './stage.ts';

const MIB = 2 ** 20;

const RULES: Readonly<Record<DmaInterface, MappingRules>> = {
  type1: 'type1',
  iommufd: 'iommufd',
  'iommufd-compat': 'iommufd-compat',
  mock: 'iommufd',
};

export const sharedDeviceAssignment = defineScenario({
  name: 'shared-device-assignment',
  summary: 'a device on the shared memory of a guest: 4K mappings on every conversion, and what larger ones break',
  source:
    'QEMU since 10.1: RamBlockAttributes, its listener for VFIO (hw/vfio/listener.c), and its series "Enable shared device assignment" (C. Qiang, 2025)',
  needs: 'a device of vfio-pci for type1, iommufd and iommufd-compat; CONFIG_IOMMUFD_TEST for the mock',
  dma: ['mock', 'type1', 'iommufd', 'iommufd-compat'],
  parameters: [
    {
      name: 'memory',
      summary: 'guest memory that is converted',
      unit: 'bytes',
      default: LEAST_MEMORY,
      min: LEAST_MEMORY,
      max: 2 ** 30,
    },
    { name: 'rounds', summary: 'timed rounds of each granularity', unit: 'count', default: 7, min: 1, max: 1000 },
  ],
  async play({ run, values, dma = 'mock', record }) {
    const { memory, rounds } = values;
    using device = dma === 'mock' ? null : claimDevice(run.device, false);
    const slots = [{ gpa: 0, len: memory, offset: 0 }];
    const backend = await withDma(await openBackend('auto', run.native), run.native, dma, device, slots);
    const target = backend.dma;
    if (!target) throw new Error('withDma adds a target');
    const setting = {
      backend: { name: backend.name, standIn: backend.standIn },
      dma: { interface: target.interface, device: target.device, addressing: target.addressing },
      leftOut: backend.leftOut,
      guest: { memoryBytes: memory, vcpus: 1, vmType: backend.vmType, requests: 'generated', slots },
    } as const;
    return await record(setting, async (on) => {
      const rules = RULES[dma];
      const batch = new OpBatch();
      backend.setUp(batch, { slots });
      await on.recorder.step(batch, { stopAtFailure: true });
      await compareGranularities(on, {
        backend,
        target,
        rules,
        bytes: memory,
        rounds,
        onProgress: (share, what) => run.onProgress?.(share, what),
      });
      const page4k = (): ConversionManager =>
        new ConversionManager(on, backend, target, {
          memoryBytes: memory,
          tracker: new PageTracker(),
          model: new MappingModel(rules),
          granularity: PAGE_BYTES,
        });
      await rollBack(on, page4k(), target);
      await tryMisfit(on, target, rules, dma === 'mock' ? ObjectNumber.device : undefined);
      if (dma === 'mock') await proveMappings(on, page4k(), target);
      if (device && dma === 'iommufd-compat') await tryCut(on, device);
      if (device && dma === 'type1') await reachEntryLimit(on, device);
    });
  },
});

/** A map in the middle of a section fails, because something else is mapped there; nothing of the section stays. */
async function rollBack(on: Stage, manager: ConversionManager, target: DmaTarget): Promise<void> {
  const { findings, recorder } = on;
  await on.phase('a failed map rolls back');
  const intruder = { gpa: 100 * PAGE_BYTES, offset: 100 * PAGE_BYTES, len: PAGE_BYTES };
  const batch = new OpBatch(1);
  target.map(batch, intruder, ObjectNumber.shared, 0);
  await recorder.step(batch);
  manager.model.map(intruder.gpa, intruder.len);
  const answered = await manager.convert({ gpa: 0, len: MIB }, 'shared');
  findings.expect('a section with something mapped in it becomes shared', String(answered), 'false');
  findings.expect('errno of its 101st map', [...manager.counts.errnos.keys()].join(), 'EEXIST');
  findings.expect('bytes rolled back', manager.counts.rolledBackBytes, intruder.gpa);
  findings.expect('bytes shared after it', manager.tracker.sharedBytes({ gpa: 0, len: MIB }), 0);
  findings.expect('mappings after it', manager.model.count, 1);
  await manager.clear();
  findings.expect('answers in the roll-back', manager.surprises.join('; ') || 'as the rules say', 'as the rules say');
}

/** Asks the page table itself, before and after conversions. */
async function proveMappings(on: Stage, manager: ConversionManager, target: DmaTarget): Promise<void> {
  await on.phase('what the page table has');
  const device = ObjectNumber.device;
  const range = { gpa: 0, len: MIB };
  const part = { ...range, offset: 0 };
  const page = { gpa: 5 * PAGE_BYTES, offset: 5 * PAGE_BYTES, len: PAGE_BYTES };
  await checkMapped(on, target, device, part, false);
  await manager.convert(range, 'shared');
  await checkMapped(on, target, device, part, true);
  await manager.convert(page, 'private');
  await checkMapped(on, target, device, page, false);
  await checkMapped(on, target, device, { ...page, gpa: 0, offset: 0 }, true);
  await manager.convert(range, 'private');
  await checkMapped(on, target, device, { ...page, gpa: 0, offset: 0 }, false);
}
