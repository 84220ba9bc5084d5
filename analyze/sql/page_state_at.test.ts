import { describe, expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const K = 4096;

/** A conversion without an exit, of a VM of its own number. */
function convert(gpa: number, len: number, toPrivate: boolean, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'kvm_set_memory_attributes', obj: 1, gpa, len, attrs: toPrivate ? 8 : 0, ...row };
}

const STATE = 'select gpa, len, side, private_held, shared_held, dma_mappings from';
const END = `${STATE} page_state_at_seq(18446744073709551615) order by trace, vm, gpa`;

describe('page_state_at_seq', () => {
  test('is the state after that row: sides, what is held, what is mapped, cut where any of it changes', async () => {
    const rows: InlineRow[] = [
      convert(0, 8 * K, true),
      convert(2 * K, 4 * K, false),
      { op: 'gmem_allocate', obj: 3, gpa: 0, len: 3 * K },
      { op: 'ram_touch', obj: 2, gpa: 2 * K, len: 2 * K, flags: 1 },
      { op: 'vfio_map_dma', obj: 5, iova: 0, gpa: 3 * K, len: 2 * K, flags: 3 },
      { op: 'gmem_punch_hole', obj: 3, gpa: 2 * K, len: K },
      { op: 'vfio_unmap_dma', obj: 5, iova: 0, len: 2 * K, flags: 0, result: 2 * K },
    ];
    const after = (seq: number) => rowsOf(rows, `${STATE} page_state_at_seq(${seq}) order by gpa`);
    expect(await after(0)).toEqual([[0, 8 * K, 'private', false, false, 0]]);
    expect(await after(1)).toEqual([
      [0, 2 * K, 'private', false, false, 0],
      [2 * K, 4 * K, 'shared', false, false, 0],
      [6 * K, 2 * K, 'private', false, false, 0],
    ]);
    expect(await after(4)).toEqual([
      [0, 2 * K, 'private', true, false, 0],
      [2 * K, K, 'shared', true, true, 0],
      // Pages that are mapped for DMA are held.
      [3 * K, 2 * K, 'shared', false, true, 1],
      [5 * K, K, 'shared', false, false, 0],
      [6 * K, 2 * K, 'private', false, false, 0],
    ]);
    expect(await after(6)).toEqual([
      [0, 2 * K, 'private', true, false, 0],
      [2 * K, 3 * K, 'shared', false, true, 0],
      [5 * K, K, 'shared', false, false, 0],
      [6 * K, 2 * K, 'private', false, false, 0],
    ]);
    expect(await after(6)).toEqual(await rowsOf(rows, END));
  });

  test('a conversion that overlaps, contains, is contained in or touches another', async () => {
    const state = async (gpa: number, len: number) =>
      (
        await rowsOf(
          [convert(8 * K, 8 * K, true), convert(gpa, len, false)],
          `select gpa, len, side from page_state_at_seq(9) order by gpa`,
        )
      ).map(([from, size, side]) => `${Number(from) / K}+${Number(size) / K} ${side as string}`);
    expect(await state(4 * K, 8 * K)).toEqual(['4+8 shared', '12+4 private']);
    expect(await state(12 * K, 8 * K)).toEqual(['8+4 private', '12+8 shared']);
    expect(await state(0, 32 * K)).toEqual(['0+32 shared']);
    expect(await state(10 * K, 2 * K)).toEqual(['8+2 private', '10+2 shared', '12+4 private']);
    expect(await state(8 * K, 8 * K)).toEqual(['8+8 shared']);
    expect(await state(0, 8 * K)).toEqual(['0+8 shared', '8+8 private']);
    expect(await state(16 * K, 8 * K)).toEqual(['8+8 private', '16+8 shared']);
  });

  test('ranges of one state that touch are one', async () => {
    const rows = [convert(K, K, true), convert(0, K, true), convert(2 * K, K, true), convert(4 * K, K, true)];
    expect(await rowsOf(rows, END)).toEqual([
      [0, 3 * K, 'private', false, false, 0],
      [4 * K, K, 'private', false, false, 0],
    ]);
  });

  test('VMs and traces are apart', async () => {
    const rows: InlineRow[] = [
      { op: 'kvm_create_vm', obj: 1, attrs: 5, result: 0 },
      { op: 'kvm_create_vm', obj: 2, attrs: 5, result: 0 },
      convert(0, K, true),
      convert(0, 2 * K, false, { obj: 2 }),
      convert(0, 4 * K, false, { trace: 1 }),
    ];
    expect(
      await rowsOf(rows, 'select trace, vm, gpa, len, side from page_state_at_seq(100) order by trace, vm, gpa'),
    ).toEqual([
      [0, 1, 0, K, 'private'],
      [0, 2, 0, 2 * K, 'shared'],
      [1, expect.anything(), 0, 4 * K, 'shared'],
    ]);
  });

  test('addresses past every bound leave the rest as it is', async () => {
    const rows = [
      convert(0, K, true),
      { op: 'kvm_set_memory_attributes', obj: 1, gpa: 2n ** 64n - 1n, len: 2n ** 64n - 1n, attrs: 8 } as const,
      { op: 'kvm_set_memory_attributes', obj: 1, gpa: 0, len: 2n ** 64n - 1n, attrs: 0 } as const,
    ];
    expect(await rowsOf(rows, END)).toEqual([[0, K, 'private', false, false, 0]]);
  });
});

describe('page_state_at', () => {
  test('is that after the last row that had started, in each trace', async () => {
    const rows = [
      convert(0, K, true, { ts_ns: 100, dur_ns: 50 }),
      convert(0, K, false, { ts_ns: 200, dur_ns: 50 }),
      convert(0, K, false, { ts_ns: 90, trace: 1 }),
    ];
    const at = (ns: number | string) => rowsOf(rows, `select trace, side from page_state_at(${ns}) order by trace`);
    expect(await at(89)).toEqual([]);
    expect(await at(99)).toEqual([[1, 'shared']]);
    expect(await at(100)).toEqual([
      [0, 'private'],
      [1, 'shared'],
    ]);
    expect(await at(200)).toEqual([
      [0, 'shared'],
      [1, 'shared'],
    ]);
    expect(await at('null')).toEqual([]);
  });

  test('knows nothing of a trace without times', async () => {
    expect(await rowsOf([convert(0, K, true)], `${STATE} page_state_at(5)`)).toEqual([]);
  });
});
