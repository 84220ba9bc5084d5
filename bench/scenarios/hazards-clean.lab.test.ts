/** Hazards of traces that need the lab: none under strategies that are right, and in scenarios only where they are made on purpose. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import { labShell, testFolder } from '../lab/testing/run-lab.ts';
import { PRESETS } from '../strategies/presets.ts';

const LIMIT_MS = 400_000;
const folder = testFolder();

/** A small boot that shares, unshares in part, and flips pages. */
const BOOT =
  'cvmtrace run boot --backend sw-protected --memory 128M --pace asap --param transactions=50 swiotlb=4M partial=2M';
const INTERFACES = ['type1', 'iommufd', 'iommufd-compat'] as const;

function runInLab(iommu: string, lines: readonly string[]): void {
  const script = ['set -e', `cd ${folder}`, 'device=$(basename $(ls -d /dev/vfio/[0-9]* | head -1))', ...lines].join(
    '\n',
  );
  const { status, stderr } = labShell(script, { options: ['--iommu', iommu, '--share', folder] });
  if (status !== 0) throw new Error(stderr);
}

/** Kinds with their severity, by the mark that they come after. */
async function hazardsIn(trace: string): Promise<string[]> {
  await using analysis = await openAnalysis([join(folder, `${trace}.arrow`)]);
  const { rows } = await analysis.query(`
    with marks as (select seq, detail from events where op = 'mark' union all select 0, 'start')
    select distinct regexp_replace(detail, ', round.*', ''), kind, severity from hazards h asof join marks m on h.seq >= m.seq order by all`);
  return rows.map((row) => row.map(String).join(': '));
}

describe('strategies with a mock device', () => {
  const strategies = PRESETS.map(({ name }) => name).filter((name) => name !== 'in-place');
  beforeAll(() => {
    runInLab(
      'virtio',
      strategies.map((name) => `${BOOT} --dma mock --strategy ${name} -o ${name}.arrow`),
    );
  }, LIMIT_MS);

  /** What they are there to show: mappings that do not fit an unmap, and one that stays for good. */
  const shown: Readonly<Record<string, readonly string[]>> = {
    'dma-2m': ['unmap_left_piece: error'],
    'dma-request': ['unmap_left_piece: error'],
    'cloud-hypervisor-53': ['mapped_while_private: note'],
  };

  it.each(strategies)('%s', async (name) => {
    const kinds = (await hazardsIn(name)).map((found) => found.slice(found.indexOf(': ') + 2));
    expect([...new Set(kinds)]).toEqual(shown[name] ?? []);
  });
});

describe('on a machine with VT-d', () => {
  beforeAll(() => {
    runInLab('vtd', [
      ...INTERFACES.flatMap((dma) => [
        `${BOOT} --dma ${dma} --device $device --strategy qemu-10.1 -o boot-${dma}.arrow`,
        `cvmtrace run --scenario shared-device-assignment --dma ${dma} --device $device --param rounds=1 -o assignment-${dma}.arrow`,
      ]),
      'cvmtrace run --scenario live-update --device $device --param rounds=2 -o live-update.arrow',
    ]);
  }, LIMIT_MS);

  it.each(INTERFACES)('a boot as QEMU answers it, through %s', async (dma) => {
    expect(await hazardsIn(`boot-${dma}`)).toEqual([]);
  });

  it.each(INTERFACES)(
    'shared-device-assignment through %s: none at 4K and of whole ranges, misfits of the rest',
    async (dma) => {
      const found = await hazardsIn(`assignment-${dma}`);
      expect(found.filter((one) => one.startsWith('4k: ') || one.includes(': whole'))).toEqual([]);
      for (const size of ['64k', '2m', 'request']) expect(found).toContain(`${size}: partial: unmap_left_piece: error`);
      const onLimit = found.filter((one) => one.includes('dma_entry_limit: error'));
      expect(onLimit).toHaveLength(dma === 'type1' ? 1 : 0);
    },
  );

  it('live-update: every window is closed', async () => {
    expect(await hazardsIn('live-update')).toEqual(['type1: rules of VADDR: double_mapping: warning']);
  });
});
