import { describe, expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const PARTS = 'attribute_ns, discard_ns, allocate_ns, dma_ns, other_ns, calls';

/** An exit of vCPU 0 on thread 1. */
function exit(row: Partial<InlineRow>): InlineRow {
  return { op: 'exit_map_gpa_range', pid: 1, tid: 1, vcpu: 0, gpa: 0, len: 4096, attrs: 0x10, result: 0, ...row };
}

describe('what a conversion cost', () => {
  test('the calls inside an exit are summed by what they do, the rest is other time', async () => {
    const rows: InlineRow[] = [
      exit({ ts_ns: 100, dur_ns: 100 }),
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, ts_ns: 110, dur_ns: 10, gpa: 0, len: 4096, attrs: 8 },
      { op: 'gmem_allocate', pid: 1, tid: 1, ts_ns: 120, dur_ns: 20, gpa: 0, len: 4096 },
      { op: 'ram_punch_hole', pid: 1, tid: 1, ts_ns: 140, dur_ns: 30, gpa: 0, len: 4096 },
      { op: 'vfio_unmap_dma', pid: 1, tid: 1, ts_ns: 170, dur_ns: 5, iova: 0, len: 4096 },
      { op: 'gmem_touch', pid: 1, tid: 1, ts_ns: 176, dur_ns: 4, gpa: 0, len: 4096 },
    ];
    expect(await rowsOf(rows, `select direction, stall_ns, ${PARTS}, outcome, errno from conversions`)).toEqual([
      ['to_private', 100, 10, 30, 24, 5, 31, 4, 'ok', 0],
    ]);
  });

  test('a call after the exit, on another thread, or before it in seq is not inside', async () => {
    const rows: InlineRow[] = [
      { op: 'ram_punch_hole', pid: 1, tid: 1, ts_ns: 100, dur_ns: 1 },
      exit({ ts_ns: 100, dur_ns: 100 }),
      { op: 'ram_punch_hole', pid: 1, tid: 2, ts_ns: 150, dur_ns: 1 },
      { op: 'ram_punch_hole', pid: 2, tid: 1, ts_ns: 150, dur_ns: 1 },
      { op: 'ram_punch_hole', pid: 1, tid: 1, ts_ns: 200, dur_ns: 1 },
    ];
    expect(await rowsOf(rows, `select ${PARTS} from conversions`)).toEqual([[0, 0, 0, 0, 100, 0]]);
  });

  test('a zero-length exit has the zero-length calls that start with it', async () => {
    const rows: InlineRow[] = [
      exit({ ts_ns: 100, dur_ns: 0 }),
      { op: 'ram_punch_hole', pid: 1, tid: 1, ts_ns: 100, dur_ns: 0 },
      { op: 'gmem_allocate', pid: 1, tid: 1, ts_ns: 100, dur_ns: 7 },
      exit({ ts_ns: 100, dur_ns: 0, gpa: 4096 }),
    ];
    expect(await rowsOf(rows, 'select seq, calls, other_ns from conversions order by seq')).toEqual([
      [0, 1, 0],
      [3, 0, 0],
    ]);
  });

  test('without times the calls on its range up to the next exit are inside, accesses are not', async () => {
    const rows: InlineRow[] = [
      exit({}),
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, gpa: 0, len: 4096, attrs: 8 },
      { op: 'gmem_touch', pid: 1, tid: 1, gpa: 0, len: 4096 },
      { op: 'ram_punch_hole', pid: 1, tid: 1, gpa: 8192, len: 4096 },
      exit({ gpa: 8192 }),
      { op: 'ram_punch_hole', pid: 1, tid: 1, gpa: 8192, len: 4096 },
    ];
    expect(await rowsOf(rows, 'select seq, stall_ns, other_ns, calls from conversions order by seq')).toEqual([
      [0, null, null, 1],
      [4, null, null, 1],
    ]);
  });

  test('rows without a thread belong together', async () => {
    const rows: InlineRow[] = [
      { op: 'exit_memory_fault', ts_ns: 0, dur_ns: 10, gpa: 0, len: 4096, flags: 0 },
      { op: 'kvm_set_memory_attributes', ts_ns: 2, dur_ns: 3, gpa: 0, len: 4096, attrs: 0 },
    ];
    expect(await rowsOf(rows, 'select trigger, direction, vcpu, attribute_ns from conversions')).toEqual([
      ['exit_memory_fault', 'to_shared', null, 3],
    ]);
  });
});

describe('who asked, and how it ended', () => {
  test('what the VMM set decides the direction, not what the guest asked for', async () => {
    const rows: InlineRow[] = [
      exit({ ts_ns: 100, dur_ns: 100, attrs: 0 }),
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, ts_ns: 110, dur_ns: 10, gpa: 0, len: 4096, attrs: 8 },
      exit({ ts_ns: 300, dur_ns: 100, attrs: 0x10, gpa: 4096 }),
      {
        op: 'kvm_set_memory_attributes',
        pid: 1,
        tid: 1,
        ts_ns: 310,
        dur_ns: 10,
        gpa: 4096,
        len: 4096,
        attrs: 0,
        errno: 12,
      },
    ];
    expect(await rowsOf(rows, 'select direction, outcome from conversions order by seq')).toEqual([
      ['to_private', 'ok'],
      ['to_private', 'failed'],
    ]);
  });

  test("QEMU's kvm_convert_memory stands for the attribute call, with or without the exit", async () => {
    const rows: InlineRow[] = [
      { op: 'exit_memory_fault', tid: 1, ts_ns: 100, gpa: 0, len: 4096, flags: 8 },
      { op: 'kvm_convert_memory', tid: 1, ts_ns: 101, gpa: 0, len: 4096, attrs: 8 },
      { op: 'kvm_convert_memory', tid: 1, ts_ns: 900, gpa: 8192, len: 4096, attrs: 0 },
    ];
    expect(await rowsOf(rows, 'select trigger, gpa, direction, outcome, calls from conversions order by seq')).toEqual([
      ['exit_memory_fault', 0, 'to_private', 'ok', 0],
      ['vmm', 8192, 'to_shared', 'ok', 0],
    ]);
  });

  test('an exit without an attribute call converted nothing, if the trace has such calls', async () => {
    const rows: InlineRow[] = [
      exit({ ts_ns: 100, dur_ns: 100 }),
      { op: 'gmem_allocate', pid: 1, tid: 1, ts_ns: 110, dur_ns: 10, gpa: 0, len: 4096 },
    ];
    const attribute: InlineRow = {
      op: 'kvm_set_memory_attributes',
      pid: 1,
      tid: 1,
      ts_ns: 900,
      gpa: 0,
      len: 4096,
      attrs: 8,
    };
    const outcomes = 'select trigger, outcome from conversions order by seq';
    expect(await rowsOf(rows, outcomes)).toEqual([['exit_map_gpa_range', 'ok']]);
    expect(await rowsOf([...rows, attribute], outcomes)).toEqual([
      ['exit_map_gpa_range', 'ignored'],
      ['vmm', 'ok'],
    ]);
    expect(await rowsOf([...rows, { ...attribute, errno: 22 }], outcomes)).toEqual([
      ['exit_map_gpa_range', 'ok'],
      ['vmm', 'failed'],
    ]);
  });

  test("attributes outside every exit are the VMM's own conversion", async () => {
    const rows: InlineRow[] = [
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, ts_ns: 0, dur_ns: 9, gpa: 0, len: 1 << 21, attrs: 8 },
      exit({ ts_ns: 20, dur_ns: 5, attrs: 0 }),
    ];
    expect(
      await rowsOf(
        rows,
        'select seq, trigger, direction, stall_ns, attribute_ns, other_ns, calls from conversions order by seq',
      ),
    ).toEqual([
      [0, 'vmm', 'to_private', null, 9, null, 1],
      [1, 'exit_map_gpa_range', 'to_shared', 5, 0, 5, 0],
    ]);
  });

  test('a refused request and a failed attribute call are failed; a failed discard is not', async () => {
    const rows: InlineRow[] = [
      exit({ ts_ns: 0, dur_ns: 10, result: 22 }),
      exit({ ts_ns: 10, dur_ns: 10 }),
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, ts_ns: 11, dur_ns: 1, attrs: 8, errno: 12 },
      exit({ ts_ns: 20, dur_ns: 10 }),
      { op: 'ram_punch_hole', pid: 1, tid: 1, ts_ns: 21, dur_ns: 1, errno: 95 },
      { op: 'gmem_allocate', pid: 1, tid: 1, ts_ns: 22, dur_ns: 1, errno: 28 },
      {
        op: 'exit_memory_fault',
        pid: 1,
        tid: 1,
        ts_ns: 30,
        dur_ns: 10,
        gpa: 0,
        len: 4096,
        flags: 8,
        result: -1,
        errno: 14,
      },
      { op: 'kvm_set_memory_attributes', pid: 1, tid: 1, ts_ns: 50, dur_ns: 1, attrs: 8, errno: 25 },
    ];
    expect(await rowsOf(rows, 'select seq, outcome, errno from conversions order by seq')).toEqual([
      [0, 'failed', 0],
      [1, 'failed', 12],
      [3, 'ok', 95],
      [6, 'ok', 0],
      [7, 'failed', 25],
    ]);
  });

  test('retries count the failures of the same vCPU, range and direction directly before', async () => {
    const rows: InlineRow[] = [
      exit({ result: 11 }),
      exit({ result: 11, vcpu: 1 }),
      exit({ result: 11 }),
      exit({ result: 0 }),
      exit({ result: 0 }),
      exit({ result: 11, attrs: 0 }),
      exit({ result: 0 }),
    ];
    expect(await rowsOf(rows, 'select seq, vcpu, retries from conversions order by seq')).toEqual([
      [0, 0, 0],
      [1, 1, 0],
      [2, 0, 1],
      [3, 0, 2],
      [4, 0, 0],
      [5, 0, 0],
      [6, 0, 0],
    ]);
  });

  test('nothing known about the direction is null', async () => {
    const rows: InlineRow[] = [{ op: 'exit_map_gpa_range', gpa: 0, len: 4096 }];
    expect(await rowsOf(rows, 'select direction, outcome from conversions')).toEqual([[null, 'ok']]);
  });
});

describe('partial conversions', () => {
  const K = 4096;
  test('a piece of an earlier range is partial, the whole of it or of its pieces is not', async () => {
    const rows: InlineRow[] = [
      exit({ gpa: 4 * K, len: K }),
      exit({ gpa: 0, len: 16 * K }),
      exit({ gpa: 4 * K, len: K }),
      exit({ gpa: 0, len: 16 * K }),
      exit({ gpa: 8 * K, len: 16 * K }),
      exit({ gpa: 32 * K, len: K }),
    ];
    expect(await rowsOf(rows, 'select seq, partial from conversions order by seq')).toEqual([
      [0, false],
      [1, false],
      [2, true],
      [3, false],
      [4, true],
      [5, false],
    ]);
  });

  test('a failed conversion leaves nothing to split, and traces are apart', async () => {
    const rows: InlineRow[] = [
      exit({ gpa: 0, len: 16 * K, result: 22 }),
      exit({ gpa: 0, len: K }),
      exit({ gpa: 0, len: 16 * K, trace: 1 }),
      exit({ gpa: 0, len: K, trace: 1 }),
    ];
    expect(await rowsOf(rows, 'select trace, seq, partial from conversions order by trace, seq')).toEqual([
      [0, 0, false],
      [0, 1, false],
      [1, 0, false],
      [1, 1, true],
    ]);
  });

  test('says of random ranges what a comparison of all with all says', async () => {
    let state = 7;
    const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
    const rows = Array.from({ length: 300 }, () =>
      exit({ gpa: random(4000) * K + random(2), len: (1 + random(60)) * K, result: random(4) === 0 ? 22 : 0 }),
    );
    const wrong = await rowsOf(
      rows,
      `select seq from conversions c
       where partial <> exists (
         from _conversions e
         where e.seq < c.seq and e.outcome = 'ok' and ranges_overlap(e.gpa, e.len, c.gpa, c.len) and not range_contains(c.gpa, c.len, e.gpa, e.len)
       )`,
    );
    expect(wrong).toEqual([]);
    const [[some = 0] = []] = await rowsOf(rows, 'select count(*) from conversions where partial');
    expect(Number(some)).toBeGreaterThan(50);
    expect(Number(some)).toBeLessThan(250);
  });
});
