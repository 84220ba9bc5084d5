import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAnalysis, type Analysis } from '../../analyze/index.ts';
import type { InlineRow } from '../../analyze/testing/inline-rows.ts';
import { writeRows } from '../../analyze/testing/write-rows.ts';
import { METADATA } from '../../capture/trace/testing/sample.ts';
import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import { Random } from '../../capture/workloads/random.ts';
import { OPS, type OpName } from '../../native/index.ts';
import { medianRatioInterval } from '../stats/bootstrap.ts';
import { mannWhitney } from '../stats/mann-whitney.ts';
import { compareTraces, type ComparedGroup, type CompareOptions, type CompareReport } from './comparison.ts';

const CALLS: readonly OpName[] = OPS.filter((op) => /^(gmem|ram|vfio|iommufd)_/.test(op)).slice(0, 24);

/** All traces of this file: they are opened once, and compared by their number. */
const traces: { readonly rows: readonly InlineRow[]; readonly metadata: TraceMetadata }[] = [];
const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-compare-'));
const pathOf = (trace: number): string => join(folder, `${trace}.arrow`);
let analysis: Analysis;

beforeAll(async () => {
  for (const [trace, { rows, metadata }] of traces.entries()) await writeRows(pathOf(trace), rows, metadata);
  analysis = await openAnalysis(
    traces.map((_, trace) => pathOf(trace)),
    { threads: 1 },
  );
});

afterAll(async () => {
  await analysis.close();
  rmSync(folder, { recursive: true, force: true });
});

/** @returns the number of a trace with these rows */
function traceOf(rows: readonly InlineRow[], metadata: TraceMetadata = METADATA): number {
  return traces.push({ rows, metadata }) - 1;
}

/** A run in which each operation has `calls` calls of about 10 us: a run's own factor, and a shape that most latencies have. */
function run(random: Random, slower: (op: OpName) => number, calls = 40): InlineRow[] {
  let ts_ns = 0;
  return CALLS.flatMap((op) => {
    const factor = (1 + random.integer(-30, 30) / 1000) * slower(op);
    return Array.from({ length: calls }, (): InlineRow => {
      const dur_ns = Math.round(
        (9000 + random.integer(0, 2000) + (random.chance(5) ? random.integer(0, 90_000) : 0)) * factor,
      );
      ts_ns += dur_ns;
      return { op, ts_ns, dur_ns };
    });
  });
}

function compare(a: readonly number[], b: readonly number[], options: Partial<CompareOptions> = {}) {
  return compareTraces(analysis, { a, b, by: 'op', effect: 0.05, threshold: null, ...options });
}

const named = ({ groups }: CompareReport, name: string): ComparedGroup => {
  const group = groups.find((candidate) => candidate.name === name);
  if (!group) throw new Error(`no group ${name}`);
  return group;
};

const called = ({ groups }: CompareReport, verdict: string): string[] =>
  groups.filter(({ measures }) => measures.p50?.verdict === verdict).map(({ name }) => name);

describe('runs against runs', () => {
  const random = Random.fromSeed(7);
  const runsOf = (slower: (op: OpName) => number, runs = 5): number[] =>
    Array.from({ length: runs }, () => traceOf(run(random, slower)));
  const isSlow = (op: OpName): boolean => CALLS.indexOf(op) % 3 === 0;
  const isFast = (op: OpName): boolean => CALLS.indexOf(op) % 6 === 1;
  const [plain, alike, changed, slow] = [
    runsOf(() => 1),
    runsOf(() => 1),
    runsOf((op) => (isSlow(op) ? 1.3 : isFast(op) ? 0.7 : 1)),
    runsOf(() => 5, 3),
  ];

  it('calls what is slower and what is faster, and nothing else', async () => {
    const { report, cautions } = await compare(plain, changed, { threshold: 0.25 });
    expect(report.unit).toBe('runs');
    expect(new Set(called(report, 'slower'))).toEqual(new Set(CALLS.filter(isSlow)));
    expect(new Set(called(report, 'faster'))).toEqual(new Set(CALLS.filter(isFast)));
    expect(report.regressions.length).toBeGreaterThan(0);
    for (const { group, measure } of report.regressions) {
      const compared = report.groups[group]?.measures[measure];
      expect(compared?.verdict).toBe('slower');
      expect(compared?.ratio).toBeGreaterThan(1.25);
    }
    expect(cautions).toEqual([]);

    const { p50 } = named(report, CALLS[0] ?? '').measures;
    expect(p50?.ratio).toBeGreaterThan(1.2);
    expect(p50?.ratio).toBeLessThan(1.4);
    // All of B beyond all of A: 2 of 252 ways.
    expect(p50?.p).toBeCloseTo(2 / 252, 12);
    expect(p50?.noise).toBeGreaterThan(1);
    expect(p50?.noise).toBeLessThan(1.1);
  });

  it('calls nothing between runs of the same', async () => {
    const { report } = await compare(plain, alike);
    expect(report.verdicts).toMatchObject({ slower: 0, faster: 0 });
    expect(report.verdicts.indistinct).toBeGreaterThan(40);
    expect(report.noise.p50?.largest).toBeGreaterThanOrEqual(report.noise.p50?.median ?? Infinity);
  });

  it('says that three runs are too few, however far they are apart', async () => {
    const { report } = await compare(plain.slice(0, 3), slow);
    expect(called(report, 'slower')).toEqual([]);
    expect(report.notes).toContainEqual(
      expect.stringContaining('the smallest possible p is 0.10: nothing can be significant'),
    );
    expect(named(report, 'ram_touch').measures.p50).toMatchObject({ verdict: 'indistinct', why: 'p' });
  });

  const op = (name: OpName, dur_ns: number): InlineRow => ({ op: name, ts_ns: 0, dur_ns });
  const [rare, none] = [traceOf([op('ram_touch', 10), op('gmem_touch', 5)]), traceOf([op('ram_touch', 30)])];
  const [also, more] = [traceOf([op('ram_touch', 20)]), traceOf([op('ram_touch', 40), op('gmem_touch', 9)])];

  it('takes no time where a run does not have what others of its side have', async () => {
    const { report } = await compare([rare, none], [also, more]);
    expect(named(report, 'gmem_touch').a).toMatchObject({ traces: 1, count: 1, totalNs: 5 });
    expect(named(report, 'gmem_touch').measures.total).toMatchObject({ aNs: 2.5, bNs: 4.5 });
    expect(named(report, 'gmem_touch').measures.p50).toMatchObject({ aNs: 5, bNs: 9, p: null });
    expect(named(report, 'ram_touch').measures.total).toMatchObject({ aNs: 20, bNs: 30, ratio: 1.5 });
    expect(named((await compare([none], [more])).report, 'gmem_touch')).toMatchObject({ a: null, measures: {} });
  });
});

describe('one trace against one', () => {
  const random = Random.fromSeed(3);
  const [base, later] = [run(random, () => 1, 150), run(random, () => 1.1, 150)];
  const [a, b] = [traceOf(base), traceOf(later)];
  const touches = (count: number, ns: (i: number) => number): number =>
    traceOf(Array.from({ length: count }, (_, i) => ({ op: 'ram_touch', ts_ns: i, dur_ns: ns(i) })));
  const [fewShort, fewLong] = [touches(3, (i) => 10 + i), touches(3, (i) => 1000 + i)];
  const [instant, slow] = [touches(50, () => 0), touches(50, () => 80)];

  it('tests the calls as their lists would be', async () => {
    const { report } = await compare([a], [b]);
    expect(report.unit).toBe('calls');
    for (const op of CALLS) {
      const [ofA = [], ofB = []] = [base, later].map((rows) =>
        rows.filter((row) => row.op === op).map((row) => Number(row.dur_ns)),
      );
      const { p50, total } = named(report, op).measures;
      expect(p50?.p).toBeCloseTo(mannWhitney(ofA, ofB)?.p ?? NaN, 12);
      // The median of an even number is another one here; the intervals of the two are close to each other.
      const resampled = medianRatioInterval(ofA, ofB);
      expect(Math.abs((p50?.low ?? NaN) - (resampled?.low ?? NaN))).toBeLessThan(0.03);
      expect(Math.abs((p50?.high ?? NaN) - (resampled?.high ?? NaN))).toBeLessThan(0.03);
      expect(total).toMatchObject({ p: null, verdict: 'unjudged' });
    }
    expect(report.notes[0]).toContain('not independent');
  });

  it('does not test what is too seldom', async () => {
    const { report } = await compare([fewShort], [fewLong]);
    expect(named(report, 'ram_touch').measures.p50).toMatchObject({ p: null, verdict: 'unjudged' });
  });

  it('says what took no time before', async () => {
    const { report } = await compare([instant], [slow], { threshold: 0.5 });
    expect(named(report, 'ram_touch').measures.p50).toMatchObject({
      ...{ aNs: 0, bNs: 80, ratio: null, high: null },
      verdict: 'slower',
    });
    expect(report.regressions).toHaveLength(1);
  });
});

describe('what a reader is warned of', () => {
  const touch: InlineRow = { op: 'ram_touch', ts_ns: 0, dur_ns: 10 };
  const [one, other] = [traceOf([touch]), traceOf([touch])];
  const lossy = traceOf([touch, { op: 'lost', ts_ns: 5, len: 7 }]);
  const host = METADATA.host && { ...METADATA.host, emulated: true };
  const [emulated, alsoEmulated] = [traceOf([touch], { ...METADATA, host }), traceOf([touch], { ...METADATA, host })];
  const warmUp = traceOf([touch], { ...METADATA, replay: { of: 'boot.arrow', round: 0 } });
  const timeless = traceOf([{ op: 'gmem_touch' }]);

  it('a trace on both sides, and one that is there twice', async () => {
    expect((await compare([one], [one])).cautions).toEqual([expect.stringContaining('on both sides')]);
    expect((await compare([other, other], [one])).cautions).toEqual([expect.stringContaining('twice on one side')]);
  });

  it('the warming round of a replay', async () => {
    expect((await compare([one], [warmUp])).cautions).toEqual([expect.stringContaining("a replay's round 0")]);
  });

  it('losses', async () => {
    const expected = `${pathOf(lossy)} lost 7 events: its counts and times are without them`;
    expect((await compare([one], [lossy])).cautions).toEqual([expected]);
  });

  it('a side that is not made alike, and an emulator against a real host', async () => {
    expect((await compare([one, emulated], [alsoEmulated])).cautions).toEqual([
      expect.stringContaining('traces of A were not made alike (CPU is)'),
    ]);
    const { report, cautions } = await compare([one], [emulated]);
    expect(cautions).toEqual([expect.stringContaining('times of B are those of an emulator')]);
    expect(report.words).toEqual({ a: [], b: ['emulated'] });
  });

  it('traces with nothing in common, and without times', async () => {
    const { report } = await compare([one], [timeless]);
    expect(report.notes).toContainEqual(expect.stringContaining('nothing can be compared'));
    expect(report.notes).toContainEqual(expect.stringContaining('B has no durations'));
    expect(named(report, 'ram_touch')).toMatchObject({ b: null, measures: {} });
  });
});
