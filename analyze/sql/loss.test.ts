import { expect, test } from 'vitest';
import { inlineAnalysis, type InlineRow } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

const ALL = 'select rows, lost_rows, lost_events, seq_missing, ended, end_lost, exit_status from loss order by trace';

test('a whole trace', async () => {
  const rows: InlineRow[] = [{ op: 'gmem_touch' }, { op: 'mark', detail: 'trace_end', len: 0, result: 0 }];
  expect(await rowsOf(rows, ALL)).toEqual([[2, 0, 0, 0, true, 0, 0]]);
});

test('lost events, numbers that seq leaves out, no end', async () => {
  const rows: InlineRow[] = [
    { op: 'gmem_touch' },
    { op: 'lost', len: 40 },
    { op: 'lost', len: 2, seq: 5 },
    { op: 'mark', detail: 'somewhere' },
  ];
  expect(await rowsOf(rows, ALL)).toEqual([[4, 2, 42, 3, false, null, null]]);
});

test('each trace has its own; an exit status may be unknown', async () => {
  const rows: InlineRow[] = [
    { op: 'mark', detail: 'trace_end', len: 3, result: 137 },
    { op: 'lost', trace: 1 },
    { op: 'mark', detail: 'trace_end', trace: 1 },
  ];
  expect(await rowsOf(rows, ALL)).toEqual([
    [1, 0, 0, 0, true, 3, 137],
    [2, 1, 0, 0, true, null, null],
  ]);
});
