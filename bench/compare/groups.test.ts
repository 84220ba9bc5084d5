import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Analysis } from '../../analyze/index.ts';
import type { InlineRow } from '../../analyze/testing/inline-rows.ts';
import { analysisOf, selectFrom } from '../../analyze/testing/inline-traces.ts';
import { rejectedBy } from '../../analyze/testing/rejected-by.ts';
import { readGroups, type Group, type Grouping } from './groups.ts';

const mark = (detail: string, ts_ns: number, trace = 0): InlineRow => ({ op: 'mark', detail, ts_ns, trace });
const touch = (ts_ns: number, dur_ns: number, trace = 0): InlineRow => ({
  op: 'ram_touch',
  ts_ns,
  dur_ns,
  len: 4096,
  trace,
});
const convert = (ts_ns: number, dur_ns: number, toPrivate: boolean, trace = 0): InlineRow => ({
  ...{ op: 'exit_map_gpa_range', ts_ns, dur_ns, len: 4096, gpa: 0, vcpu: 0, trace },
  attrs: toPrivate ? 16 : 0,
  result: 0,
});

// Trace 0 boots twice; trace 1 boots once, begins with its mark, and shuts down.
const ROWS: readonly InlineRow[] = [
  touch(0, 5),
  mark('boot', 100),
  touch(110, 10),
  { ...touch(130, 30), errno: 12 },
  { op: 'ram_touch', len: 4096 },
  convert(200, 40, true),
  mark('boot', 300),
  touch(310, 20),
  { op: 'lost', len: 3, ts_ns: 320 },
  mark('trace_end', 400),
  mark('boot', 1000, 1),
  touch(1010, 100, 1),
  convert(1020, 70, true, 1),
  convert(1100, 90, false, 1),
  mark('shutdown', 1500, 1),
  mark('trace_end', 1600, 1),
];

/** Traces of one test each. */
const MANY_SIZES = 2;
const TIMELESS = 3;
const UNNAMED = 4;
const BUSY = 5;
const EMPTY = 6;

const OTHERS: readonly InlineRow[] = [
  ...Array.from({ length: 300 }, (_, i): InlineRow => {
    const len = [4096, 65536, 2 ** 21, 2 ** 30][i % 4] ?? 0;
    const op = i % 3 === 0 ? 'ram_touch' : 'gmem_touch';
    return { op, trace: MANY_SIZES, ts_ns: i, dur_ns: (i * 7919) % 263, ...(i % 5 > 0 && { len }) };
  }),
  { op: 'mark', detail: 'boot', trace: TIMELESS },
  { op: 'ram_touch', trace: TIMELESS },
  { op: 'ram_touch', trace: TIMELESS },
  touch(0, 1, UNNAMED),
  { op: 'mark', ts_ns: 5, trace: UNNAMED },
  touch(6, 2, UNNAMED),
  ...Array.from({ length: 1001 }, (_, i) => mark(`round ${i}`, i, BUSY)),
];

let analysis: Analysis;
beforeAll(async () => {
  analysis = await analysisOf([...ROWS, ...OTHERS]);
});
afterAll(() => analysis.close());

const groupsOf = (by: Grouping, traces: readonly number[] = [0, 1]): Promise<Group[]> =>
  readGroups(analysis, traces, by);

const brief = ({ kind, phase, occurrence, name, runs }: Group): unknown => [
  ...[kind, phase, occurrence, name],
  Object.fromEntries([...runs].map(([trace, { count, totalNs }]) => [trace, [count, totalNs]])),
];

describe('groups', () => {
  it('align phases by name, the second of a name with the second', async () => {
    expect((await groupsOf('phase,op')).map(brief)).toEqual([
      ['length', null, 1, 'trace', { 0: [1, 400], 1: [1, 600] }],
      ['length', null, 1, 'phase', { 0: [1, 100] }],
      ['length', 'boot', 1, 'phase', { 0: [1, 200], 1: [1, 500] }],
      ['length', 'boot', 2, 'phase', { 0: [1, 100] }],
      ['length', 'shutdown', 1, 'phase', { 1: [1, 100] }],
      ['conversions', 'boot', 1, 'to_shared', { 1: [1, 90] }],
      ['conversions', 'boot', 1, 'to_private', { 0: [1, 40], 1: [1, 70] }],
      ['operations', null, 1, 'ram_touch', { 0: [1, 5] }],
      ['operations', 'boot', 1, 'exit_map_gpa_range', { 0: [1, 40], 1: [2, 160] }],
      ['operations', 'boot', 1, 'ram_touch', { 0: [3, 40], 1: [1, 100] }],
      ['operations', 'boot', 2, 'ram_touch', { 0: [1, 20] }],
    ]);
  });

  it('put whole traces against each other', async () => {
    expect((await groupsOf('op')).map(brief)).toEqual([
      ['length', null, 1, 'trace', { 0: [1, 400], 1: [1, 600] }],
      ['conversions', null, 1, 'to_shared', { 1: [1, 90] }],
      ['conversions', null, 1, 'to_private', { 0: [1, 40], 1: [1, 70] }],
      ['operations', null, 1, 'exit_map_gpa_range', { 0: [1, 40], 1: [2, 160] }],
      ['operations', null, 1, 'ram_touch', { 0: [5, 65], 1: [1, 100] }],
    ]);
  });

  it('count what failed, and what has no time', async () => {
    const group = (await groupsOf('phase,op')).find(({ name, phase }) => name === 'ram_touch' && phase === 'boot');
    expect(group?.runs.get(0)).toEqual({ count: 3, errors: 1, timed: 2, totalNs: 40, p50Ns: 10, p99Ns: 30, maxNs: 30 });
  });

  it('have the sizes and quantiles of op_latency', async () => {
    const groups = await groupsOf('phase,op,size', [MANY_SIZES]);
    const got = groups.flatMap(({ kind, name, size, runs }) =>
      kind === 'operations' ? [{ op: name, size, ...runs.get(MANY_SIZES) }] : [],
    );
    const expected = await selectFrom(
      analysis,
      `select op::varchar as op, size_class as size, count, errors, count as timed, total_ns as "totalNs", p50_ns as "p50Ns", p99_ns as "p99Ns", max_ns as "maxNs"
       from op_latency where trace = ${MANY_SIZES}`,
    );
    expect(got).toHaveLength(10);
    expect(new Set(got.map((row) => JSON.stringify(row)))).toEqual(new Set(expected.map((row) => JSON.stringify(row))));
  });

  it('are there without times, and where there is no row at all', async () => {
    expect((await groupsOf('phase,op', [TIMELESS, EMPTY])).map(brief)).toEqual([
      ['length', null, 1, 'trace', { [TIMELESS]: [1, null] }],
      ['length', 'boot', 1, 'phase', { [TIMELESS]: [1, null] }],
      ['operations', 'boot', 1, 'ram_touch', { [TIMELESS]: [2, null] }],
    ]);
    expect(await groupsOf('phase,op', [EMPTY])).toEqual([]);
  });

  it('tell a mark without a name from what is before the first mark', async () => {
    const operations = (await groupsOf('phase,op', [UNNAMED])).filter(({ kind }) => kind === 'operations');
    expect(operations.map(({ phase }) => phase)).toEqual([null, '']);
  });

  it('are no phases where a program marks each of its rounds', async () => {
    const error = await rejectedBy(() => groupsOf('phase,op', [BUSY]), 'USAGE');
    expect(error.message).toContain('1001 marks');
    expect(error.hint).toContain('--by op');
    expect((await groupsOf('op', [BUSY])).map(brief)).toEqual([['length', null, 1, 'trace', { [BUSY]: [1, 1000] }]]);
  });
});
