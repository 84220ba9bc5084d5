/** What the guest asked for (guest_requests), and what merging requests (coalescing) and later discards (discards_avoided) would save. */
import { describe, expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const K = 4096;
const M2 = 2 ** 21;

function exit(gpa: number, len: number, row: Partial<InlineRow> = {}): InlineRow {
  return { op: 'exit_map_gpa_range', pid: 1, tid: 1, vcpu: 0, obj: 1, gpa, len, attrs: 0x10, result: 0, ...row };
}

/** The VM: type 5 is a TD, 4 an SNP guest. With a slot of 8 MiB at 0, if wanted. */
function vm(type: number, slot = false): InlineRow[] {
  const create: InlineRow = { op: 'kvm_create_vm', obj: 1, attrs: type, result: 0 };
  return slot
    ? [create, { op: 'kvm_set_user_memory_region2', obj: 1, attrs: 0, gpa: 0, len: 4 * M2, hva: 2 ** 40, flags: 0 }]
    : [create];
}

describe('guest_requests', () => {
  const REQUESTS =
    'select seq, past_seq, vcpu, gpa, len, exits, stall_ns, outcome from guest_requests order by trace, seq';

  test("KVM's 2 MiB pieces of a TD's request are one, whatever other vCPUs do meanwhile", async () => {
    const rows = [
      ...vm(5),
      exit(K, M2, { ts_ns: 0, dur_ns: 10 }),
      exit(2 ** 32, M2, { vcpu: 1, tid: 2, ts_ns: 5, dur_ns: 3 }),
      exit(K + M2, M2, { ts_ns: 20, dur_ns: 10 }),
      exit(K + 2 * M2, 3 * K, { ts_ns: 40, dur_ns: 5 }),
      // The last piece is shorter, so that what goes on is another request.
      exit(K + 2 * M2 + 3 * K, M2, { ts_ns: 50, dur_ns: 5 }),
    ];
    expect(await rowsOf(rows, REQUESTS)).toEqual([
      [1, 5, 0, K, 2 * M2 + 3 * K, 3, 25, 'ok'],
      [2, 3, 1, 2 ** 32, M2, 1, 3, 'ok'],
      [5, 6, 0, K + 2 * M2 + 3 * K, M2, 1, 5, 'ok'],
    ]);
  });

  test('another direction, a gap, a failure, a longer piece or a memory fault begins a new one', async () => {
    const rows = [
      ...vm(5),
      exit(0, M2),
      exit(M2, M2, { attrs: 0 }),
      exit(2 * M2 + K, M2, { attrs: 0 }),
      exit(3 * M2 + K, M2, { attrs: 0, result: 11 }),
      exit(4 * M2 + K, M2, { attrs: 0 }),
      exit(5 * M2 + K, 2 * M2, { attrs: 0 }),
      { op: 'exit_memory_fault', vcpu: 0, pid: 1, tid: 1, gpa: 7 * M2 + K, len: K, flags: 0 } as const,
    ];
    expect(await rowsOf(rows, 'select seq, exits, trigger, outcome from guest_requests order by seq')).toEqual([
      [1, 1, 'exit_map_gpa_range', 'ok'],
      [2, 1, 'exit_map_gpa_range', 'ok'],
      [3, 2, 'exit_map_gpa_range', 'failed'],
      [5, 1, 'exit_map_gpa_range', 'ok'],
      [6, 1, 'exit_map_gpa_range', 'ok'],
      [7, 1, 'exit_memory_fault', 'ok'],
    ]);
  });

  test("an SNP guest's exit has as many entries as pages of its size, and its exits are requests of their own", async () => {
    const rows = [
      ...vm(4),
      exit(0, 2 * M2, { attrs: 0x11 }),
      exit(2 * M2, 253 * K),
      exit(4 * M2, M2),
      exit(5 * M2, M2),
    ];
    expect(await rowsOf(rows, 'select len, exits, page_size, entries from guest_requests order by seq')).toEqual([
      [2 * M2, 1, M2, 2],
      [253 * K, 1, K, 253],
      [M2, 1, K, 512],
      [M2, 1, K, 512],
    ]);
  });

  test('memory, holes and what is partly one: by the slots of that moment', async () => {
    const rows = [
      ...vm(5, true),
      exit(0, M2),
      exit(3 * M2 + K, M2, { attrs: 0 }),
      exit(2 ** 40, M2),
      exit(2 ** 40 + M2, K),
      { op: 'kvm_set_user_memory_region2', obj: 1, attrs: 0, gpa: 0, len: 0, flags: 0 } as const,
      exit(0, K, { attrs: 0 }),
    ];
    expect(await rowsOf(rows, 'select gpa, len, exits, memory, slot_bytes from guest_requests order by seq')).toEqual([
      [0, M2, 1, 'ram', M2],
      [3 * M2 + K, M2, 1, 'partly', M2 - K],
      [2 ** 40, M2 + K, 2, 'hole', 0],
      [0, K, 1, 'hole', 0],
    ]);
    expect(await rowsOf([exit(0, K)], 'select memory, slot_bytes from guest_requests')).toEqual([[null, null]]);
  });

  test('numbers past every bound', async () => {
    const rows: InlineRow[] = [
      { op: 'exit_map_gpa_range', vcpu: 0, gpa: 2n ** 64n - 1n, len: 2 ** 21, attrs: 0 },
      { op: 'exit_map_gpa_range', vcpu: 0, gpa: 0, len: 2n ** 64n - 1n, attrs: 2n ** 64n - 1n },
      { op: 'exit_map_gpa_range', vcpu: 0 },
    ];
    expect(await rowsOf(rows, 'select count(*) from guest_requests')).toEqual([[3]]);
  });
});

describe('coalescing', () => {
  test('adjacent requests of one direction within the time are one', async () => {
    const rows = [
      exit(0, K, { ts_ns: 0, dur_ns: 1000 }),
      exit(K, K, { ts_ns: 3000, dur_ns: 2000 }),
      exit(8 * K, K, { ts_ns: 5500, dur_ns: 3000 }),
      exit(7 * K, K, { ts_ns: 8600, dur_ns: 4000 }),
      exit(6 * K, K, { ts_ns: 20000, dur_ns: 5000 }),
      exit(5 * K, K, { ts_ns: 25000, dur_ns: 6000, attrs: 0 }),
      exit(K, K, { vcpu: 1, tid: 2, ts_ns: 25001, dur_ns: 7000 }),
    ];
    const merged = (us: number) =>
      rowsOf(
        rows,
        `select direction, requests, merged, saved_requests, largest_bytes, stall_ns, saved_ns from coalescing(${us}) order by direction`,
      );
    const toShared = ['to_shared', 1, 1, 0, K, 6000, 0];
    expect(await merged(1)).toEqual([['to_private', 6, 5, 1, 2 * K, 22_000, 1000], toShared]);
    expect(await merged(2)).toEqual([['to_private', 6, 4, 2, 2 * K, 22_000, 2000], toShared]);
    expect(await merged(100)).toEqual([['to_private', 6, 3, 3, 3 * K, 22_000, 3000], toShared]);
  });

  test('calls of the busiest request are left; without times nothing joins', async () => {
    const attributes: InlineRow = { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, len: K, attrs: 8 };
    const rows = [
      exit(0, K, { ts_ns: 0, dur_ns: 100 }),
      { ...attributes, gpa: 0, ts_ns: 1, dur_ns: 1 },
      { ...attributes, gpa: 0, ts_ns: 2, dur_ns: 1 },
      exit(K, K, { ts_ns: 100, dur_ns: 100 }),
      { ...attributes, gpa: K, ts_ns: 101, dur_ns: 1 },
    ];
    expect(await rowsOf(rows, 'select calls, saved_calls from coalescing(0)')).toEqual([[3, 1]]);
    expect(
      await rowsOf([exit(0, K), exit(K, K)], 'select requests, merged, stall_ns, saved_ns from coalescing(1000)'),
    ).toEqual([[2, 2, null, null]]);
  });
});

describe('discards_avoided', () => {
  const AVOIDED = (ms: number) =>
    `select discarded_side, discards, avoided, bytes, avoided_bytes, byte_seconds, peak_bytes from discards_avoided(${ms}) order by trace, discarded_side`;
  const MS = 1_000_000;

  test('memory that comes back in time, wholly or in part, and what is held for it', async () => {
    const rows = [
      // 4 pages go to private; one of them is back after 2 ms, the others after 5 ms.
      exit(0, 4 * K, { ts_ns: 0, dur_ns: 1 }),
      exit(0, K, { ts_ns: 2 * MS, dur_ns: 1, attrs: 0 }),
      exit(K, 3 * K, { ts_ns: 5 * MS, dur_ns: 1, attrs: 0 }),
      { op: 'mark', detail: 'trace_end', ts_ns: 10 * MS } as const,
    ];
    expect(await rowsOf(rows, AVOIDED(0))).toEqual([
      ['private', 2, 0, 4 * K, 0, 0, 0],
      ['shared', 1, 0, 4 * K, 0, 0, 0],
    ]);
    const [kept, discarded] = await rowsOf(rows, AVOIDED(2));
    expect(kept).toEqual(['private', 2, 0, 4 * K, 0, expect.closeTo(4 * K * 0.002), 3 * K]);
    expect(discarded).toEqual(['shared', 1, 0, 4 * K, K, expect.closeTo(4 * K * 0.002), 4 * K]);
    const [, within] = await rowsOf(rows, AVOIDED(5));
    expect(within).toEqual(['shared', 1, 1, 4 * K, 4 * K, expect.closeTo(K * 0.002 + 3 * K * 0.005), 4 * K]);
  });

  test('without times nothing is avoided, and what is held is unknown', async () => {
    expect(await rowsOf([exit(0, K), exit(0, K, { attrs: 0 })], AVOIDED(1000))).toEqual([
      ['private', 1, 0, K, 0, null, null],
      ['shared', 1, 0, K, 0, null, null],
    ]);
  });
});
