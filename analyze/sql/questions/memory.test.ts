/** The queries about what memory is and who holds it, each on rows of which the answer is known. */
import { expect, test } from 'vitest';
import { inlineAnswers } from '../../testing/inline-answers.ts';
import type { InlineRow } from '../../testing/inline-rows.ts';

const answer = inlineAnswers();

const K = 4096;
const M2 = 2 ** 21;
const G = 2 ** 30;

function convert(gpa: number, len: number, toPrivate: boolean, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'kvm_set_memory_attributes', obj: 1, gpa, len, attrs: toPrivate ? 8 : 0, ...row };
}

test('doubly-held: at most, and at the end of each phase', async () => {
  const rows: InlineRow[] = [
    { op: 'ram_touch', obj: 2, gpa: 0, len: 8 * K, flags: 1, ts_ns: 0 },
    { op: 'mark', detail: 'firmware', ts_ns: 5 },
    { op: 'vfio_map_dma', obj: 5, iova: 0, gpa: 6 * K, len: K, flags: 3, ts_ns: 6 },
    { op: 'gmem_allocate', obj: 3, gpa: 0, len: 4 * K, ts_ns: 10 },
    { op: 'ram_punch_hole', obj: 2, gpa: 0, len: 3 * K, ts_ns: 20 },
    { op: 'mark', detail: 'kernel', ts_ns: 25 },
    { op: 'ram_punch_hole', obj: 2, gpa: 3 * K, len: K, ts_ns: 30 },
  ];
  const columns =
    'phase, name, peak_doubly_held_bytes, peak_seq, peak_ns, private_held_bytes, shared_held_bytes, pinned_bytes, last_doubly_held_bytes';
  expect(await answer('doubly-held', rows, columns)).toEqual([
    [null, null, 4 * K, 3, 10, 4 * K, 8 * K, K, 0],
    [0, 'firmware', 4 * K, 3, 10, 4 * K, 8 * K, K, K],
    [1, 'kernel', 0, 6, 30, 4 * K, 4 * K, K, 0],
  ]);
});

test('shared-gib-blocks: ranges across blocks, several in one, blocks without any', async () => {
  const rows = [
    convert(0, 8 * G, true),
    convert(G - K, 2 * K, false),
    convert(G + 8 * K, K, false),
    convert(4 * G, 2 * G, false),
    convert(7 * G, K, false),
    convert(7 * G, K, true),
  ];
  expect(await answer('shared-gib-blocks', rows, 'blocks, shared_blocks, shared_bytes')).toEqual([
    [8, 4, 2 * G + 3 * K],
  ]);
});

test('shared-pages', async () => {
  const rows: InlineRow[] = [
    convert(0, 16 * K, true),
    convert(4 * K, 2 * K, false),
    { op: 'gmem_allocate', obj: 3, gpa: 5 * K, len: 4 * K },
    { op: 'vfio_map_dma', obj: 5, iova: 0, gpa: 4 * K, len: K, flags: 3 },
  ];
  expect(await answer('shared-pages', rows, 'gpa, len, pages, private_held, shared_held, dma_mappings')).toEqual([
    [4 * K, K, 1, false, true, 1],
    [5 * K, K, 1, true, false, 0],
  ]);
});

test('broken-huge-pages: by pieces at either end, whole again or not', async () => {
  const rows = [
    convert(0, 8 * M2, true, { ts_ns: 0 }),
    convert(K, K, false, { ts_ns: 10 }),
    convert(K, K, true, { ts_ns: 20 }),
    // From the middle of one to the middle of another: the one between stays whole.
    convert(3 * M2 - K, M2 + 2 * K, false, { ts_ns: 30 }),
    convert(6 * M2, M2, false, { ts_ns: 40 }),
  ];
  const columns = 'gpa, broken_seq, broken_ns, conversions, shared_bytes, whole_again';
  expect(await answer('broken-huge-pages', rows, columns)).toEqual([
    [0, 1, 10, 1, 0, true],
    [2 * M2, 3, 30, 1, K, false],
    [4 * M2, 3, 30, 1, K, false],
  ]);
});

test('after-shutdown: what came after the first close of the VM or its memory', async () => {
  const rows: InlineRow[] = [
    { op: 'kvm_create_vm', obj: 1, attrs: 5, result: 0 },
    { op: 'gmem_punch_hole', obj: 3, gpa: 0, len: K, ts_ns: 5, dur_ns: 1 },
    { op: 'close', obj: 9, ts_ns: 90 },
    { op: 'close', obj: 1, ts_ns: 100 },
    { op: 'mm_filemap_delete_from_page_cache', len: K, ts_ns: 110 },
    { op: 'mm_filemap_delete_from_page_cache', len: K, ts_ns: 300 },
    { op: 'iommu_unmap', iova: 0, len: 8 * K, result: 8 * K, ts_ns: 120, dur_ns: 30 },
  ];
  expect(await answer('after-shutdown', rows)).toEqual([
    [0, 'mm_filemap_delete_from_page_cache', 3, 2, 2 * K, 5, 200],
    [0, 'iommu_unmap', 3, 1, 8 * K, 6, 50],
  ]);
});
