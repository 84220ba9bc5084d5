/** The queries about conversions, each on rows of which the answer is known. */
import { describe, expect, test } from 'vitest';
import { inlineAnswers } from '../../testing/inline-answers.ts';
import type { InlineRow } from '../../testing/inline-rows.ts';

const answer = inlineAnswers();

const K = 4096;
const M2 = 2 ** 21;
const MS = 1_000_000;

function exit(gpa: number, len: number, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'exit_map_gpa_range', pid: 1, tid: 1, vcpu: 0, gpa, len, attrs: 0x10, result: 0, ...row };
}

const share = (gpa: number, len: number, row: Partial<InlineRow> = {}): InlineRow =>
  exit(gpa, len, { attrs: 0, ...row });

describe('what could be done otherwise', () => {
  test('partial-conversions: a mapper that cuts', async () => {
    const rows: InlineRow[] = [
      share(0, 16 * K),
      { op: 'vfio_map_dma', pid: 1, tid: 1, obj: 5, iova: 0, gpa: 0, len: 16 * K, flags: 3 },
      // The middle is cut out of one mapping: two cuts, one unmap.
      exit(4 * K, 4 * K),
      // The edge of it, and memory that is private: one cut.
      exit(14 * K, 4 * K),
      share(4 * K, 4 * K),
    ];
    expect(await answer('partial-conversions', rows)).toEqual([[0, 4, 3, 0.75, 1, 0, 2, 2, 3]]);
  });

  test('lazy-discard: delays against what discards took', async () => {
    const rows: InlineRow[] = [
      exit(0, K, { ts_ns: 0, dur_ns: 100 }),
      { op: 'ram_punch_hole', pid: 1, tid: 1, gpa: 0, len: K, ts_ns: 10, dur_ns: 30 },
      share(0, K, { ts_ns: 5 * MS, dur_ns: 100 }),
      { op: 'mark', detail: 'trace_end', ts_ns: 50 * MS },
    ];
    const columns = 'discarded_side, delay_ms, discards, avoided, avoided_share, peak_bytes, discard_ns';
    expect(await answer('lazy-discard', rows, columns)).toEqual([
      ...[0, 1, 10, 100, 1000].map((ms) => ['private', ms, 1, 0, 0, ms === 0 ? 0 : K, 0]),
      ...[0, 1, 10, 100, 1000].map((ms) => ['shared', ms, 1, ms < 5 ? 0 : 1, ms < 5 ? 0 : 1, ms === 0 ? 0 : K, 30]),
    ]);
  });
});

describe('what was asked for, and what that took', () => {
  test('latency-by-vcpus', async () => {
    const rows: InlineRow[] = [
      exit(0, K, { ts_ns: 0, dur_ns: 7 }),
      { op: 'mark', detail: 'firmware', ts_ns: 10 },
      exit(0, 2 * K, { ts_ns: 20, dur_ns: 30 }),
      share(0, 2 * K, { ts_ns: 60, dur_ns: 10, vcpu: 1, tid: 2 }),
      exit(0, K, { trace: 1, ts_ns: 0, dur_ns: 9, vcpu: 3 }),
    ];
    expect(await answer('latency-by-vcpus', rows)).toEqual([
      [0, 2, null, null, 1, 1, 7, 7, 7, 1],
      [0, 2, 0, 'firmware', 2, 4, 10, 10, 30, 2],
      [1, 1, null, null, 1, 1, 9, 9, 9, 1],
    ]);
  });

  test('conversion-storm', async () => {
    const rows: InlineRow[] = [
      { op: 'kvm_create_vm', obj: 1, attrs: 5, result: 0 },
      { op: 'kvm_set_user_memory_region2', obj: 1, attrs: 0, gpa: 0, len: M2, hva: 2 ** 40, flags: 0 },
      ...[0, 1, 2, 3].map((i) => share(2 ** 40 + i * M2, M2, { ts_ns: 100 * i, dur_ns: 10 })),
      exit(0, 2 * K, { ts_ns: 1000, dur_ns: 5 }),
      share(K, 2 * K, { ts_ns: 1100, dur_ns: 5 }),
      exit(8 * K, K, { ts_ns: 1200, dur_ns: 5 }),
    ];
    expect(await answer('conversion-storm', rows)).toEqual([
      [0, 'hole', 2 ** 40, 4 * M2, 1, 4, 4 * M2, 40],
      [0, 'ram', 0, 3 * K, 2, 2, 4 * K, 10],
      [0, 'ram', 8 * K, K, 1, 1, K, 5],
    ]);
  });

  test('attributes-of-all-memory', async () => {
    const set = (len: number, attrs: number, dur_ns: number): InlineRow => ({
      op: 'kvm_set_memory_attributes',
      obj: 1,
      gpa: 0,
      len,
      attrs,
      dur_ns,
    });
    const rows = [set(2 ** 31, 8, 5000), set(2 ** 31, 8, 10), set(K, 0, 3), { ...set(K, 0, 99), errno: 12 }];
    expect(await answer('attributes-of-all-memory', rows)).toEqual([
      [0, 'kvm_set_memory_attributes', 2 ** 31, true, 2, 5000, 10, 5000, 2500],
      [0, 'kvm_set_memory_attributes', K, false, 1, 3, 3, 3, 3 * 2 ** 18],
    ]);
  });

  test('conversion-cost-by-size', async () => {
    const rows: InlineRow[] = [
      exit(0, K, { ts_ns: 0, dur_ns: 100 }),
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, gpa: 0, len: K, attrs: 8, ts_ns: 1, dur_ns: 50 },
      { op: 'ram_punch_hole', pid: 1, tid: 1, gpa: 0, len: K, ts_ns: 60, dur_ns: 25 },
      exit(M2, 2 * K, { ts_ns: 200, dur_ns: 40 }),
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, gpa: M2, len: 2 * K, attrs: 8, ts_ns: 201, dur_ns: 10 },
      { op: 'vfio_unmap_dma', pid: 1, tid: 1, obj: 5, iova: M2, len: 2 * K, ts_ns: 220, dur_ns: 10, result: 2 * K },
    ];
    expect(await answer('conversion-cost-by-size', rows)).toEqual([
      [0, '<=4K', 'to_private', 1, 100, 100, 100, 0.5, 0.25, 0, 0],
      [0, '<=64K', 'to_private', 1, 40, 40, 20, 0.25, 0, 0, 0.25],
    ]);
  });

  test('implicit-conversions', async () => {
    const fault = (gpa: number, flags: number, row: Partial<InlineRow> = {}): InlineRow => ({
      op: 'exit_memory_fault',
      pid: 1,
      tid: 1,
      vcpu: 0,
      gpa,
      len: K,
      flags,
      result: -1,
      errno: 14,
      ...row,
    });
    const set = (gpa: number, attrs: number, ts_ns: number): InlineRow => ({
      op: 'kvm_set_memory_attributes',
      pid: 1,
      tid: 1,
      obj: 1,
      gpa,
      len: K,
      attrs,
      ts_ns,
      dur_ns: 1,
    });
    const rows = [
      exit(0, K, { ts_ns: 0, dur_ns: 10 }),
      set(0, 8, 1),
      fault(0, 0, { ts_ns: 20, dur_ns: 10 }),
      set(0, 0, 21),
    ];
    const columns = 'seq, ts_ns, vcpu, gpa, len, direction, stall_ns';
    expect(await answer('implicit-conversions', rows, columns)).toEqual([[2, 20, 0, 0, K, 'to_shared', 10]]);
  });

  test('refused-conversions: who holds the page, and when it was let go', async () => {
    const convert = (ts_ns: number, row: Partial<InlineRow> = {}): InlineRow => ({
      op: 'kvm_set_memory_attributes2',
      obj: 3,
      offset: 4 * K,
      len: 4 * K,
      attrs: 8,
      ts_ns,
      ...row,
    });
    const rows: InlineRow[] = [
      { op: 'kvm_create_vm', obj: 1, attrs: 5, result: 0 },
      { op: 'kvm_create_guest_memfd', obj: 3, len: 64 * K },
      {
        op: 'kvm_set_user_memory_region2',
        obj: 1,
        attrs: 3 * 2 ** 32,
        gpa: 2 ** 32,
        len: 64 * K,
        offset: 0,
        hva: 2 ** 40,
        flags: 4,
      },
      { op: 'iommufd_ioas_map', obj: 9, iova: 2 ** 32 + 4 * K, gpa: 2 ** 32 + 4 * K, len: 2 * K, flags: 7 },
      convert(100, { errno: 11, result: 5 * K }),
      convert(150, { errno: 11, result: 5 * K }),
      { op: 'iommufd_ioas_unmap', obj: 9, iova: 2 ** 32 + 4 * K, len: 2 * K, result: 2 * K },
      // Somebody else, who is not seen.
      convert(200, { errno: 11, result: 7 * K }),
      convert(300),
      convert(400, { offset: 0, len: K, errno: 11 }),
    ];
    const page = 2 ** 32 + 5 * K;
    const held = [{ api: 'iommufd', obj: 9, iova: BigInt(page), map_seq: 3n }];
    const columns = 'seq, obj, error_offset, gpa, held_by, retries, settled_seq, settled_ns';
    expect(await answer('refused-conversions', rows, columns)).toEqual([
      [4, 3, 5 * K, page, held, 3, 8, 200],
      [5, 3, 5 * K, page, held, 2, 8, 150],
      [7, 3, 7 * K, 2 ** 32 + 7 * K, [], 1, 8, 100],
      [9, 3, null, null, [], null, null, null],
    ]);
  });
});
