import { expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const K = 4096;
const ALL = 'select gpa, len, pages, to_private, to_shared, flips from page_flips order by trace, vm, gpa';

function convert(
  ts_ns: number | undefined,
  gpa: number,
  len: number,
  toPrivate: boolean,
  row: Partial<InlineRow> = {},
): InlineRow {
  const times = ts_ns === undefined ? {} : { ts_ns, dur_ns: 1 };
  return { op: 'exit_map_gpa_range', vcpu: 0, gpa, len, attrs: toPrivate ? 0x10 : 0, result: 0, ...times, ...row };
}

test('ranges are cut where conversions begin and end', async () => {
  const rows = [convert(0, 0, 16 * K, true), convert(10, 4 * K, 4 * K, false), convert(25, 4 * K, 4 * K, true)];
  expect(await rowsOf(rows, ALL)).toEqual([
    [0, 4 * K, 4, 1, 0, 0],
    [4 * K, 4 * K, 4, 2, 1, 2],
    [8 * K, 8 * K, 8, 1, 0, 0],
  ]);
});

test('a conversion to the side where the range is already is no flip', async () => {
  const rows = [convert(0, 0, K, false), convert(5, 0, K, true), convert(9, 0, K, true), convert(12, 0, K, false)];
  expect(await rowsOf(rows, ALL)).toEqual([[0, K, 1, 2, 2, 2]]);
});

test('large and small ranges that overlap, also across their size classes', async () => {
  const M = 1024 * 1024;
  const rows = [convert(0, 0, 64 * M, true), convert(1, 3 * M, 2 * M, false), convert(2, 5 * M - K, 2 * K, true)];
  expect(await rowsOf(rows, 'select gpa, len, flips from page_flips order by gpa')).toEqual([
    [0, 3 * M, 0],
    [3 * M, 2 * M - K, 1],
    [5 * M - K, K, 2],
    [5 * M, K, 0],
    [5 * M + K, 59 * M - K, 0],
  ]);
});

test('failed conversions, gaps and conversions without times', async () => {
  const rows = [
    convert(undefined, 0, K, true),
    convert(undefined, 0, K, false, { result: 22 }),
    convert(undefined, 8 * K, K, false),
    convert(undefined, 8 * K, K, true),
    convert(undefined, 4 * K, 0, true),
  ];
  expect(await rowsOf(rows, ALL)).toEqual([
    [0, K, 1, 1, 0, 0],
    [8 * K, K, 1, 1, 1, 1],
  ]);
});

test('traces are apart', async () => {
  const rows = [convert(0, 0, K, true), convert(5, 0, K, false, { trace: 1 })];
  expect(await rowsOf(rows, `select trace, flips from page_flips order by trace`)).toEqual([
    [0, 0],
    [1, 0],
  ]);
});
