import { describe, expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const K = 4096;

function map(iova: number, len: number, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'vfio_map_dma', obj: 5, iova, len, gpa: iova, flags: 3, ...row };
}

function unmap(iova: number, len: number, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'vfio_unmap_dma', obj: 5, iova, len, flags: 0, result: len, ...row };
}

const LIVE =
  'select seq, obj, live_mappings, live_bytes, peak_mappings, api_mappings, entry_limit, headroom from dma_live order by trace, seq, obj';

describe('dma_live', () => {
  test('one unmap ends many, containers are counted apart and together, the peak stays', async () => {
    const rows = [
      map(0, K),
      map(K, K),
      map(0, 2 * K, { obj: 6 }),
      map(8 * K, K),
      unmap(0, 2 * K),
      unmap(0, 0, { flags: 2, result: K }),
    ];
    expect(await rowsOf(rows, LIVE)).toEqual([
      [0, 5, 1, K, 1, 1, 65535, 65534],
      [1, 5, 2, 2 * K, 2, 2, 65535, 65533],
      [2, 6, 1, 2 * K, 1, 3, 65535, 65534],
      [3, 5, 3, 3 * K, 3, 4, 65535, 65532],
      [4, 5, 1, K, 3, 2, 65535, 65534],
      [5, 5, 0, 0, 3, 1, 65535, 65535],
    ]);
  });

  test('the limit is what the kernel answered and what was live then; iommufd has none', async () => {
    const rows: InlineRow[] = [
      map(0, K),
      { op: 'vfio_iommu_get_info', obj: 5 },
      { op: 'vfio_iommu_get_info', obj: 5, result: 99 },
      map(K, K),
      { op: 'vfio_iommu_get_info', obj: 5, result: 98 },
      map(0, K, { obj: 6 }),
      { op: 'vfio_iommu_get_info', obj: 6, result: 4294967295 },
      { op: 'iommufd_ioas_map', obj: 7, iova: 0, len: K, flags: 7 },
    ];
    expect(
      await rowsOf(
        rows,
        'select distinct obj, entry_limit, min(headroom) over (partition by obj) from dma_live order by obj',
      ),
    ).toEqual([
      [5, 100, 98],
      [6, null, null],
      [7, null, null],
    ]);
  });

  test('no container, no times, several traces, lengths past every bound', async () => {
    const rows: InlineRow[] = [
      { op: 'vfio_map_dma', iova: 0, len: K },
      { op: 'vfio_map_dma', iova: 0, len: K, trace: 1, ts_ns: 7 },
      { op: 'vfio_map_dma', iova: 0n, len: 2n ** 64n - 1n, trace: 2 },
      { op: 'vfio_map_dma', iova: 2n ** 64n - 1n, len: 2n ** 64n - 1n, trace: 2 },
    ];
    expect(
      await rowsOf(rows, 'select trace, obj, ts_ns, live_mappings from dma_live where trace < 2 order by trace'),
    ).toEqual([
      [0, null, null, 1],
      [1, null, 7, 1],
    ]);
  });
});

describe('run_sizes', () => {
  test('runs of each GiB by the power of 2 that holds them', async () => {
    const rows: InlineRow[] = [
      map(0, K),
      map(K, K),
      map(8 * K, 3 * K),
      unmap(0, 2 * K),
      map(0, K),
      { op: 'iommu_map', iova: 2 ** 30, len: 2 ** 21 },
      { op: 'iommu_map', iova: 2 ** 30 + 2 ** 21, len: K },
    ];
    expect(
      await rowsOf(rows, 'select api, obj, gib, run_limit, runs, bytes from run_sizes order by api, gib, run_limit'),
    ).toEqual([
      ['kernel', null, 1, K, 1, K],
      ['kernel', null, 1, 2 ** 21, 1, 2 ** 21],
      ['type1', 5, 0, K, 3, 3 * K],
      ['type1', 5, 0, 4 * K, 1, 3 * K],
    ]);
  });
});

describe('vaddr_windows', () => {
  test('from the address given up to the new one, and whether it fits', async () => {
    const rows = [
      map(0, 2 * K, { ts_ns: 0 }),
      map(2 * K, 2 * K, { ts_ns: 1 }),
      unmap(0, 2 * K, { flags: 4, ts_ns: 10 }),
      unmap(2 * K, 2 * K, { flags: 4, ts_ns: 11 }),
      map(0, 2 * K, { flags: 4, ts_ns: 30 }),
    ];
    expect(
      await rowsOf(
        rows,
        'select obj, iova, len, matched, from_seq, past_seq, window_ns from vaddr_windows order by iova',
      ),
    ).toEqual([
      [5, 0, 2 * K, true, 2, 4, 20],
      [5, 2 * K, 2 * K, false, 3, null, null],
    ]);
  });
});
