import { expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const K = 1024;
const ALL =
  'select op::varchar, size_class, size_limit, count, errors, bytes, total_ns, p50_ns, p99_ns, max_ns from op_latency order by trace, op, size_limit nulls last, size_class';

test('quantiles are by nearest rank', async () => {
  const rows: InlineRow[] = Array.from({ length: 200 }, (_, i) => ({ op: 'gmem_touch', len: 4 * K, dur_ns: 200 - i }));
  expect(await rowsOf(rows, ALL)).toEqual([['gmem_touch', '<=4K', 4 * K, 200, 0, 800 * K, 20_100, 100, 198, 200]]);
});

test('one row is all its quantiles; equal durations count each', async () => {
  const rows: InlineRow[] = [
    { op: 'gmem_touch', len: 1, dur_ns: 7 },
    ...[5, 5, 5, 9].map((dur_ns): InlineRow => ({ op: 'ram_touch', len: 1, dur_ns })),
  ];
  expect(await rowsOf(rows, 'select p50_ns, p99_ns, max_ns from op_latency order by op')).toEqual([
    [5, 9, 9],
    [7, 7, 7],
  ]);
});

test('size classes end at 4K, 64K, 1M, 2M and 64M; no length is a class of its own', async () => {
  const lengths = [0, 4 * K, 4 * K + 1, 64 * K, K * K, 2 * K * K, 64 * K * K, 64 * K * K + 1];
  const rows: InlineRow[] = [
    { op: 'kvm_create_vm', dur_ns: 3 },
    ...lengths.map((len): InlineRow => ({ op: 'gmem_allocate', len, dur_ns: 1 })),
  ];
  expect(
    await rowsOf(rows, 'select op::varchar, size_class, count from op_latency order by op, size_limit nulls last'),
  ).toEqual([
    ['kvm_create_vm', 'none', 1],
    ['gmem_allocate', '<=4K', 2],
    ['gmem_allocate', '<=64K', 2],
    ['gmem_allocate', '<=1M', 1],
    ['gmem_allocate', '<=2M', 1],
    ['gmem_allocate', '<=64M', 1],
    ['gmem_allocate', '>64M', 1],
  ]);
});

test('rows without a duration count but have no time; failures count; marks and losses are no operations; traces are apart', async () => {
  const rows: InlineRow[] = [
    { op: 'mark', detail: 'a', dur_ns: 1 },
    { op: 'lost', len: 9 },
    { op: 'gmem_allocate', len: K, errno: 28, dur_ns: 4 },
    { op: 'gmem_allocate', len: K },
    { op: 'gmem_allocate', len: K, trace: 1 },
  ];
  expect(await rowsOf(rows, ALL)).toEqual([
    ['gmem_allocate', '<=4K', 4 * K, 2, 1, 2 * K, 4, 4, 4, 4],
    ['gmem_allocate', '<=4K', 4 * K, 1, 0, K, null, null, null, null],
  ]);
});
