import { expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const K = 4096;
const HELD =
  'select seq, private_held_bytes, shared_held_bytes, doubly_held_bytes from memory_over_time order by trace, seq';

test('private and shared follow the conversions; before the first one memory is neither', async () => {
  const rows: InlineRow[] = [
    { op: 'exit_map_gpa_range', ts_ns: 5, gpa: 0, len: 8 * K, attrs: 0x10, result: 0 },
    { op: 'exit_map_gpa_range', ts_ns: 6, gpa: 4 * K, len: 8 * K, attrs: 0, result: 0 },
    { op: 'exit_map_gpa_range', ts_ns: 7, gpa: 4 * K, len: 8 * K, attrs: 0, result: 0 },
    { op: 'exit_map_gpa_range', ts_ns: 8, gpa: 0, len: 8 * K, attrs: 0, result: 11 },
  ];
  expect(
    await rowsOf(rows, 'select seq, ts_ns, private_bytes, shared_bytes from memory_over_time order by seq'),
  ).toEqual([
    [0, 5, 8 * K, 0],
    [1, 6, 4 * K, 8 * K],
  ]);
});

test('memory is held from its allocation or access until it is punched; both sides at once is double', async () => {
  const rows: InlineRow[] = [
    { op: 'ram_touch', obj: 2, gpa: 0, len: 4 * K, flags: 1 },
    { op: 'gmem_allocate', obj: 3, gpa: 2 * K, len: 4 * K },
    { op: 'gmem_touch', obj: 3, gpa: 2 * K, len: K, flags: 1 },
    { op: 'ram_punch_hole', obj: 2, gpa: 0, len: 3 * K },
    { op: 'gmem_punch_hole', obj: 3, gpa: 0, len: 16 * K },
  ];
  expect(await rowsOf(rows, HELD)).toEqual([
    [0, 0, 4 * K, 0],
    [1, 4 * K, 4 * K, 2 * K],
    [3, 4 * K, K, K],
    [4, 0, K, 0],
  ]);
});

test('the side of a ram object is what ram_create says', async () => {
  const rows: InlineRow[] = [
    { op: 'ram_create', obj: 2, len: 16 * K, detail: 'shared', flags: 1 },
    { op: 'ram_create', obj: 3, len: 16 * K, detail: 'private', flags: 1 },
    { op: 'ram_touch', obj: 3, gpa: 0, len: K, flags: 1 },
    { op: 'ram_allocate', obj: 2, gpa: 0, len: 2 * K },
  ];
  expect(await rowsOf(rows, HELD)).toEqual([
    [2, K, 0, 0],
    [3, K, 2 * K, K],
  ]);
});

test('madvise gives back anonymous memory; on a file only REMOVE does; reads of anonymous memory hold nothing', async () => {
  const rows: InlineRow[] = [
    { op: 'ram_create', obj: 2, len: 16 * K, detail: 'shared', flags: 0 },
    { op: 'ram_create', obj: 4, len: 16 * K, detail: 'shared', flags: 1 },
    { op: 'ram_touch', obj: 2, gpa: 0, len: K, flags: 0 },
    { op: 'ram_touch', obj: 2, gpa: 0, len: 2 * K, flags: 1 },
    { op: 'ram_touch', obj: 4, gpa: 8 * K, len: 2 * K, flags: 0 },
    { op: 'ram_madvise', obj: 2, gpa: 0, len: K, flags: 4 },
    { op: 'ram_madvise', obj: 4, gpa: 8 * K, len: K, flags: 4 },
    { op: 'ram_madvise', obj: 4, gpa: 8 * K, len: K, flags: 9 },
  ];
  expect(await rowsOf(rows, HELD)).toEqual([
    [3, 0, 2 * K, 0],
    [4, 0, 4 * K, 0],
    [5, 0, 3 * K, 0],
    [7, 0, 2 * K, 0],
  ]);
});

test('failed rows, rows without gpa and zero-length rows change nothing; traces are apart', async () => {
  const rows: InlineRow[] = [
    { op: 'gmem_allocate', obj: 3, gpa: 0, len: K, errno: 12 },
    { op: 'gmem_allocate', obj: 3, offset: 0, len: K },
    { op: 'gmem_allocate', obj: 3, gpa: 0, len: 0 },
    { op: 'gmem_allocate', obj: 3, gpa: 0, len: K },
    { op: 'ram_touch', obj: 2, gpa: 0, len: K, flags: 1, trace: 1 },
  ];
  expect(await rowsOf(rows, HELD)).toEqual([
    [3, K, 0, 0],
    [0, 0, K, 0],
  ]);
});
