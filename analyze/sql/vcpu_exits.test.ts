import { expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

test('sums of a recording and exits with rows of their own, by vCPU and reason', async () => {
  const rows: InlineRow[] = [
    { op: 'kvm_run', pid: 7, vcpu: 0, ts_ns: 0, dur_ns: 400_000_000, result: 30 },
    { op: 'exit_other', pid: 7, vcpu: 0, ts_ns: 0, dur_ns: 1000, attrs: 6, result: 20 },
    { op: 'exit_other', pid: 7, vcpu: 0, ts_ns: 0, dur_ns: 50, result: 8 },
    { op: 'exit_map_gpa_range', pid: 7, vcpu: 0, ts_ns: 500, dur_ns: 70, attrs: 0x10 },
    { op: 'exit_other', pid: 7, vcpu: 0, ts_ns: 500_000_000, dur_ns: 500_000_000, attrs: 6, result: 5 },
    { op: 'exit_other', pid: 7, vcpu: 1, ts_ns: 0, attrs: 99, result: 1 },
    // A log that has each exit by itself.
    { op: 'exit_other', pid: 9, vcpu: 0, attrs: 2 },
  ];
  expect(
    await rowsOf(
      rows,
      'select pid, vcpu, name, exits, per_second, handled_ns, guest_ns from vcpu_exits order by pid, vcpu, exits desc, name',
    ),
  ).toEqual([
    [7, 0, 'all', 30, 30, null, 400_000_000],
    [7, 0, 'mmio', 25, 25, 500_001_000, null],
    [7, 0, 'KVM_RUN failed', 8, 8, 50, null],
    [7, 0, 'hypercall', 1, 1, 70, null],
    [7, 1, 'reason 99', 1, null, null, null],
    [9, 0, 'io', 1, null, null, null],
  ]);
});
