import { describe, expect, it } from 'vitest';
import { OP_STRIDE, OpBatch, OPS } from '../../native/index.ts';
import { addressingFor, DMA_INTERFACES, type DmaInterface, makeTarget, type MemoryPart } from './target.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const DEVICE = { name: '0000:00:03.0', group: 4, cdev: 7 };
const slot = (gpa: number, len: number, offset = 0): MemoryPart => ({ gpa, len, offset });

/** Where a page of a slot is mapped. */
function iovaOf(dma: DmaInterface, slots: readonly MemoryPart[], part: MemoryPart): number | undefined {
  return addressingFor(dma, slots)?.iovaOf(part);
}

describe('addressing', () => {
  it.each(['type1', 'iommufd', 'iommufd-compat'] as const)('%s maps memory at its own address', (dma) => {
    expect(addressingFor(dma, [slot(0, GIB)])?.text).toBe('iova = gpa');
    expect(iovaOf(dma, [slot(0, GIB)], slot(5 * MIB, 4096, 5 * MIB))).toBe(5 * MIB);
  });

  it('moves all memory past the MSI window if any is in it', () => {
    const window = 0xfee0_0000;
    const slots = [slot(0, GIB), slot(window - MIB, 2 * MIB)];
    expect(iovaOf('type1', slots, slot(4096, 4096))).toBe(2 ** 32 + 4096);
    expect(addressingFor('type1', slots)?.text).toContain('iova = gpa + 4G');
    // What ends at its first byte, or starts behind its last, is not in it.
    expect(iovaOf('type1', [slot(0, window), slot(0xfef0_0000, GIB)], slot(4096, 4096))).toBe(4096);
    expect(iovaOf('type1', [slot(0, window + 4096)], slot(4096, 4096))).toBe(2 ** 32 + 4096);
  });

  it('of the mock goes by the offset in memory, from where its aperture begins', () => {
    const slots = [slot(0, GIB), slot(4 * GIB, 512 * MIB, GIB)];
    expect(iovaOf('mock', slots, slot(4 * GIB + 8192, 4096, GIB + 8192))).toBe(16 * MIB + GIB + 8192);
  });

  it('of the mock ends where its aperture does', () => {
    const most = 2 * GIB - 16 * MIB;
    expect(addressingFor('mock', [slot(0, most)])).toBeDefined();
    expect(addressingFor('mock', [slot(0, most + 4096)])).toBeUndefined();
    expect(addressingFor('mock', [slot(0, 4096, most)])).toBeUndefined();
  });
});

describe.each(DMA_INTERFACES)('%s', (dma) => {
  const addressing = addressingFor(dma, [slot(0, GIB)]);
  if (!addressing) throw new Error('1 GiB fits everywhere');
  const target = makeTarget(dma, dma === 'mock' ? null : DEVICE, addressing, []);

  function rows(append: (batch: OpBatch) => void): { op: string; words: number[] }[] {
    const batch = new OpBatch();
    append(batch);
    return Array.from({ length: batch.count }, (_, row) => {
      const [code = 0, ...words] = batch.words.subarray(row * OP_STRIDE, (row + 1) * OP_STRIDE);
      return { op: OPS[code] ?? '', words };
    });
  }

  it('is opened, and one more mapping is one call at the same address as its unmapping', () => {
    const opening = rows((batch) => target.setUp(batch)).map(({ op }) => op);
    const part = slot(2 * MIB, MIB, 2 * MIB);
    const [map, unmap, ...more] = rows((batch) => {
      target.map(batch, part, 2, 3);
      target.unmap(batch, part, 3);
    });
    expect(more).toEqual([]);
    const type1 = dma === 'type1' || dma === 'iommufd-compat';
    expect([map?.op, unmap?.op]).toEqual(
      type1 ? ['vfio_map_dma', 'vfio_unmap_dma'] : ['iommufd_ioas_map', 'iommufd_ioas_unmap'],
    );
    // Words after the operation: obj, gpa, offset, len, attrs, flags, paceNs, peer, vcpu, iova.
    const iova = dma === 'mock' ? 18 * MIB : 2 * MIB;
    expect(map?.words).toEqual([6, 2 * MIB, 2 * MIB, MIB, NaN, type1 ? 3 : 7, 0, 2, 3, iova]);
    expect([unmap?.words[0], unmap?.words[3], unmap?.words[9]]).toEqual([6, MIB, iova]);
    expect(opening).toEqual(
      {
        type1: ['vfio_set_iommu'],
        'iommufd-compat': ['iommufd_open', 'vfio_set_iommu'],
        iommufd: ['iommufd_open', 'vfio_device_bind_iommufd', 'iommufd_ioas_alloc', 'vfio_attach_iommufd_pt'],
        mock: ['iommufd_open', 'iommufd_ioas_alloc', 'iommufd_test_mock_domain'],
      }[dma],
    );
  });
});
