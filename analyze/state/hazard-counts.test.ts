/** Findings count all that they are about, also where only the first rows are their proof. */
import { expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();
const PAGE = 4096;
const MAPPINGS = 20;
const all = { gpa: 0, len: MAPPINGS * PAGE };
const maps: InlineRow[] = Array.from({ length: MAPPINGS }, (_, i) => {
  return { op: 'vfio_map_dma', obj: 9, gpa: i * PAGE, iova: i * PAGE, len: PAGE, flags: 3 };
});
const COUNTS = 'select kind, count, len, len(proof) from hazards';

test('mappings that are stale', async () => {
  const rows: InlineRow[] = [
    { op: 'exit_map_gpa_range', ...all, attrs: 0, result: 0 },
    ...maps,
    { op: 'exit_map_gpa_range', ...all, attrs: 16, result: 0 },
  ];
  expect(await rowsOf(rows, COUNTS)).toEqual([['stale_mapping', MAPPINGS, MAPPINGS * PAGE, 9]]);
});

test('mappings of what is given back', async () => {
  const rows: InlineRow[] = [...maps, { op: 'ram_punch_hole', obj: 2, ...all }];
  expect(await rowsOf(rows, COUNTS)).toEqual([['discarded_while_mapped', MAPPINGS, MAPPINGS * PAGE, 9]]);
});

test('mappings where the kernel refuses another', async () => {
  const rows: InlineRow[] = [
    ...maps,
    { op: 'vfio_map_dma', obj: 9, iova: 0, len: MAPPINGS * PAGE, flags: 3, errno: 17 },
  ];
  expect(await rowsOf(rows, COUNTS)).toEqual([['double_mapping', MAPPINGS, MAPPINGS * PAGE, 9]]);
});
