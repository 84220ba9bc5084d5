import { describe, expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

describe('phases', () => {
  const ALL = 'select phase, name, from_seq, past_seq, start_ns, end_ns, dur_ns from phases order by trace, phase';

  test('last from mark to mark; trace_end ends the last and is none', async () => {
    const rows: InlineRow[] = [
      { op: 'gmem_touch', ts_ns: 0 },
      { op: 'mark', detail: 'firmware', ts_ns: 10 },
      { op: 'gmem_touch', ts_ns: 15, dur_ns: 100 },
      { op: 'mark', detail: 'kernel', ts_ns: 40 },
      { op: 'mark', detail: 'trace_end', ts_ns: 90 },
    ];
    expect(await rowsOf(rows, ALL)).toEqual([
      [0, 'firmware', 1, 3, 10, 40, 30],
      [1, 'kernel', 3, 4, 40, 90, 50],
    ]);
  });

  test('without trace_end the last ends with the latest end of a row', async () => {
    const rows: InlineRow[] = [
      { op: 'mark', detail: 'a', ts_ns: 10 },
      { op: 'gmem_touch', ts_ns: 20, dur_ns: 50 },
      { op: 'gmem_touch', ts_ns: 30, dur_ns: 1 },
    ];
    expect(await rowsOf(rows, ALL)).toEqual([[0, 'a', 0, 3, 10, 70, 60]]);
  });

  test('marks without times or at the same time, and two traces', async () => {
    const rows: InlineRow[] = [
      { op: 'mark', detail: 'a' },
      { op: 'mark', detail: 'b' },
      { op: 'mark', detail: 'x', ts_ns: 5, trace: 1 },
      { op: 'mark', detail: 'y', ts_ns: 5, trace: 1 },
      { op: 'mark', trace: 1, ts_ns: 6 },
    ];
    expect(await rowsOf(rows, ALL)).toEqual([
      [0, 'a', 0, 1, null, null, null],
      [1, 'b', 1, 2, null, null, null],
      [0, 'x', 0, 1, 5, 5, 0],
      [1, 'y', 1, 2, 5, 6, 1],
      [2, null, 2, 3, 6, 6, 0],
    ]);
  });
});

describe('boot', () => {
  const ALL =
    'select phase, name, vcpu, wall_ns, conversions, bytes, stall_ns, stall_share from boot order by trace, phase nulls first, vcpu';
  const exit = (row: Partial<InlineRow>): InlineRow => ({
    op: 'exit_map_gpa_range',
    gpa: 0,
    len: 4096,
    attrs: 0x10,
    ...row,
  });

  test('a row per phase and vCPU, and one per vCPU for the whole', async () => {
    const rows: InlineRow[] = [
      exit({ ts_ns: 0, dur_ns: 5, vcpu: 0 }),
      { op: 'mark', detail: 'a', ts_ns: 10 },
      exit({ ts_ns: 10, dur_ns: 5, vcpu: 0 }),
      exit({ ts_ns: 11, dur_ns: 10, vcpu: 1 }),
      { op: 'mark', detail: 'b', ts_ns: 30 },
      exit({ ts_ns: 31, dur_ns: 7, vcpu: 0 }),
      { op: 'mark', detail: 'trace_end', ts_ns: 50 },
    ];
    expect(await rowsOf(rows, ALL)).toEqual([
      [null, null, 0, 50, 3, 3 * 4096, 17, 17 / 50],
      [null, null, 1, 50, 1, 4096, 10, 10 / 50],
      [0, 'a', 0, 20, 1, 4096, 5, 5 / 20],
      [0, 'a', 1, 20, 1, 4096, 10, 10 / 20],
      [1, 'b', 0, 20, 1, 4096, 7, 7 / 20],
    ]);
  });

  test("unknown times are null; the VMM's own conversions stop no vCPU", async () => {
    const rows: InlineRow[] = [
      { op: 'mark', detail: 'a' },
      { op: 'kvm_set_memory_attributes', gpa: 0, len: 4096, attrs: 8, ts_ns: 1, dur_ns: 2 },
      exit({ vcpu: 0, len: 8192 }),
    ];
    expect(await rowsOf(rows, ALL)).toEqual([
      [null, null, 0, 2, 1, 8192, null, null],
      [0, 'a', 0, null, 1, 8192, null, null],
    ]);
  });
});
