/** The queries about DMA mappings, each on rows of which the answer is known. */
import { describe, expect, test } from 'vitest';
import { inlineAnswers } from '../../testing/inline-answers.ts';
import type { InlineRow } from '../../testing/inline-rows.ts';

const answer = inlineAnswers();

const K = 4096;
const G = 2 ** 30;
const HVA = 2 ** 40;

/** A type1 map of guest memory at its own address, 10 ns long. */
function map(iova: number, len: number, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'vfio_map_dma', pid: 1, tid: 1, obj: 5, iova, len, hva: HVA + iova, flags: 3, dur_ns: 10, ...row };
}

function unmap(iova: number, len: number, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'vfio_unmap_dma', pid: 1, tid: 1, obj: 5, iova, len, flags: 0, result: len, dur_ns: 4, ...row };
}

function mark(detail: string, ts_ns: number): InlineRow {
  return { op: 'mark', detail, ts_ns };
}

/** Two phases of a VMM with two containers. */
const TWO_PHASES: readonly InlineRow[] = [
  map(0, K, { ts_ns: 10 }),
  mark('firmware', 20),
  map(K, K, { ts_ns: 30 }),
  map(2 * K, 2 * K, { ts_ns: 40, dur_ns: 30 }),
  map(0, K, { ts_ns: 50, obj: 6 }),
  map(8 * K, K, { ts_ns: 55, errno: 28 }),
  mark('kernel', 60),
  unmap(0, 2 * K, { ts_ns: 70 }),
  mark('trace_end', 110),
];

describe('how many are live', () => {
  test('dma-headroom', async () => {
    expect(await answer('dma-headroom', TWO_PHASES)).toEqual([
      [0, 'type1', 5, 3, 4 * K, 3, 40, 65535, 65532, 1],
      [0, 'type1', 6, 1, K, 4, 50, 65535, 65534, 0],
    ]);
  });

  test('live-mappings', async () => {
    expect(await answer('live-mappings', TWO_PHASES)).toEqual([
      [0, null, null, 'type1', 5, 1, 2 * K, 3, 2, 1, 2],
      [0, null, null, 'type1', 6, 1, K, 1, 0, 0, 0],
      [0, 0, 'firmware', 'type1', 5, 3, 4 * K, 2, 0, 0, 0],
      [0, 0, 'firmware', 'type1', 6, 1, K, 1, 0, 0, 0],
      [0, 1, 'kernel', 'type1', 5, 1, 2 * K, 0, 2, 1, 2],
      [0, 1, 'kernel', 'type1', 6, 1, K, 0, 0, 0, 0],
    ]);
  });

  test('mapped-bytes', async () => {
    // 1 page for 20 ns, 2 for 10, 4 for 10, 5 for 20, 3 for the last 40.
    const mean = (K * (20 + 20 + 40 + 100 + 120)) / 100;
    expect(await answer('mapped-bytes', TWO_PHASES)).toEqual([[0, 'type1', 5 * K, mean, 4, 0]]);
  });

  test('deferred-unmaps', async () => {
    const rows: InlineRow[] = [
      map(0, K, { ts_ns: 0, dur_ns: 10 }),
      { op: 'iommu_map', tid: 1, pid: 1, iova: 0, len: K, ts_ns: 5 },
      unmap(0, K, { ts_ns: 20, dur_ns: 5 }),
      map(K, K, { ts_ns: 30, dur_ns: 10 }),
      { op: 'iommu_map', tid: 1, pid: 1, iova: K, len: K, ts_ns: 35 },
      { op: 'iommu_unmap', tid: 1, pid: 1, iova: 0, len: K, result: K, ts_ns: 75 },
    ];
    expect(await answer('deferred-unmaps', rows)).toEqual([
      [0, 'kernel', 2, 2 * K, 2, null, 1, 50],
      [0, 'type1', 1, K, 2, 65535, 0, null],
    ]);
  });
});

describe('what calls cost', () => {
  test('mapping-granularity', async () => {
    expect(await answer('mapping-granularity', TWO_PHASES)).toEqual([
      [0, 'vfio_map_dma', '<=4K', 3, 3 * K, 30, 10, 10],
      [0, 'vfio_map_dma', '<=64K', 1, 2 * K, 30, 15, 30],
      [0, 'vfio_unmap_dma', '<=64K', 1, 2 * K, 4, 2, 4],
    ]);
  });

  test('map-rates', async () => {
    const rows = [map(0, G, { dur_ns: 1e9 }), map(G, G, { dur_ns: 3e9 }), map(2 * G, G, { dur_ns: 7, errno: 12 })];
    expect(await answer('map-rates', rows)).toEqual([[0, 'vfio_map_dma', 2, 2 * G, 4e9, 0.5, 1e9, 3e9, 3e9, 1]]);
  });

  test('map-calls-in-context', async () => {
    const rows: InlineRow[] = [
      map(0, K, { ts_ns: 0, dur_ns: 3 }),
      mark('kernel', 10),
      {
        op: 'exit_map_gpa_range',
        pid: 1,
        tid: 7,
        vcpu: 2,
        gpa: 0,
        len: K,
        attrs: 0,
        result: 0,
        ts_ns: 20,
        dur_ns: 100,
      },
      map(K, K, { tid: 7, ts_ns: 30, dur_ns: 50, flags: 1 }),
      { op: 'ram_punch_hole', pid: 1, tid: 8, gpa: 0, len: K, ts_ns: 79, dur_ns: 1 },
      { op: 'ram_punch_hole', pid: 1, tid: 8, gpa: 0, len: K, ts_ns: 80, dur_ns: 1 },
    ];
    expect(await answer('map-calls-in-context', rows)).toEqual([
      [0, 3, 30, 50, 'vfio_map_dma', K, K, false, 'kernel', 2, 2, 1],
      [0, 0, 0, 3, 'vfio_map_dma', 0, K, true, null, null, null, 0],
    ]);
  });

  test('slot-against-dma', async () => {
    const slot = (attrs: number, hva: number, len: number, dur_ns: number): InlineRow => ({
      op: 'kvm_set_user_memory_region',
      obj: 1,
      attrs,
      gpa: hva - HVA,
      hva,
      len,
      flags: 0,
      dur_ns,
    });
    const rows = [
      slot(0, HVA, 16 * K, 100),
      slot(1, HVA + G, 4 * K, 7),
      map(0, 4 * K),
      map(8 * K, K),
      map(G, 4 * K, { dur_ns: 5 }),
      map(2 * G, K),
      map(0, 4 * K, { flags: 4 }),
    ];
    expect(await answer('slot-against-dma', rows)).toEqual([
      [0, HVA, 16 * K, 1, 100, 2, 5 * K, 20],
      [0, HVA + G, 4 * K, 1, 7, 1, 4 * K, 5],
    ]);
  });

  test('mappings-by-device', async () => {
    const rows: InlineRow[] = [
      map(0, K),
      map(K, K),
      map(K, K, { errno: 17, tid: 2 }),
      { op: 'iommu_map', iova: 0, len: 2 * K, detail: '0000:01:00.0' },
    ];
    expect(await answer('mappings-by-device', rows)).toEqual([
      [0, 'vfio_map_dma', 5, null, 1, 1, 2, 0, 2 * K, 20],
      [0, 'iommu_map', null, '0000:01:00.0', null, null, 1, 0, 2 * K, null],
      [0, 'vfio_map_dma', 5, null, 1, 2, 1, 1, K, 10],
    ]);
  });
});

describe('how large the pieces are', () => {
  const rows: readonly InlineRow[] = [
    { op: 'iommu_map', iova: 0, len: 3 * K },
    { op: 'iommu_map', iova: 4 * K, len: K },
    { op: 'iommu_map', iova: 0, len: K, trace: 1 },
    { op: 'iommu_map', iova: K, len: K, trace: 1 },
    { op: 'iommu_map', iova: G, len: 2 ** 21, trace: 1 },
  ];

  test('run-sizes', async () => {
    expect(await answer('run-sizes', rows)).toEqual([
      [0, 'kernel', 0, K, 1, K, 0.25],
      [0, 'kernel', 0, 4 * K, 1, 3 * K, 0.75],
      [1, 'kernel', 0, K, 2, 2 * K, 1],
      [1, 'kernel', 1, 2 ** 21, 1, 2 ** 21, 1],
    ]);
  });

  test('run-sizes-compared', async () => {
    const small = 2 / 514;
    expect(await answer('run-sizes-compared', rows)).toEqual([
      ['kernel', K, 1, 2, 0.25, small, small - 0.25],
      ['kernel', 4 * K, 1, 0, 0.75, 0, -0.75],
      ['kernel', 2 ** 21, 0, 1, 0, 1 - small, 1 - small],
    ]);
  });
});

describe('what went wrong', () => {
  test('faults-after-unmap', async () => {
    const fault = (iova: number, ts_ns: number): InlineRow => ({ op: 'iommu_fault', iova, ts_ns, detail: 'dev' });
    const rows: InlineRow[] = [
      map(0, 4 * K, { ts_ns: 0 }),
      fault(K, 10),
      unmap(0, 4 * K, { ts_ns: 20, dur_ns: 0 }),
      map(2 * K, K, { ts_ns: 30 }),
      fault(K + 5, 70),
      fault(2 * K, 80),
      fault(8 * K, 90),
    ];
    expect(await answer('faults-after-unmap', rows)).toEqual([
      [0, 1, 10, K, 'dev', 'mapped', 0, null, null],
      [0, 4, 70, K + 5, 'dev', 'unmapped', 0, 2, 50],
      [0, 5, 80, 2 * K, 'dev', 'mapped', 3, null, null],
      [0, 6, 90, 8 * K, 'dev', 'never mapped', null, null, null],
    ]);
  });

  test('left-after-unmap', async () => {
    const rows = [
      { op: 'vfio_set_iommu', obj: 5 } as const,
      map(0, 4 * K, { ts_ns: 0 }),
      unmap(K, 8 * K, { ts_ns: 10, errno: 22, result: 0 }),
    ];
    expect(await answer('left-after-unmap', rows, 'trace, severity, seq, ts_ns, obj')).toEqual([
      [0, 'error', 2, 10, 5],
    ]);
  });

  test('overlapping-regions', async () => {
    const rows = [
      { op: 'vfio_set_iommu', obj: 5 } as const,
      map(0, 4 * K, { ts_ns: 0 }),
      map(2 * K, 4 * K, { ts_ns: 10 }),
      unmap(64 * K, K, { ts_ns: 20, result: 0 }),
    ];
    expect(await answer('overlapping-regions', rows, 'kind, seq, obj')).toEqual([
      ['double_mapping', 2, 5],
      ['unmap_no_match', 3, 5],
    ]);
  });

  test('vaddr-gaps', async () => {
    const rows = [
      map(0, K, { ts_ns: 0 }),
      map(K, K, { ts_ns: 1 }),
      unmap(0, K, { flags: 4, ts_ns: 100 }),
      unmap(K, K, { flags: 4, ts_ns: 110 }),
      { op: 'iommu_fault', iova: 9 * K, ts_ns: 115 } as const,
      map(0, K, { flags: 4, ts_ns: 120 }),
      map(K, K, { flags: 4, ts_ns: 150 }),
      { op: 'iommu_fault', iova: 9 * K, ts_ns: 160 } as const,
    ];
    expect(await answer('vaddr-gaps', rows)).toEqual([[0, 5, true, false, 2, 2 * K, 20, 40, 50, 1]]);
  });
});
