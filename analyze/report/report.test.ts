import { join } from 'node:path';
import { expect, test } from 'vitest';
import { METADATA, testFolder } from '../../capture/trace/testing/sample.ts';
import { TraceWriter } from '../../capture/trace/writer.ts';
import { opCode, type OpName } from '../../native/index.ts';
import { generateTrace } from '../../datasets/generate.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { analyzeTrace, DEFAULT_LIMITS } from './report.ts';

const folder = testFolder();

test('the parts of the report on a generated trace agree with each other and with the views', async () => {
  const path = join(folder, 'generated.arrow');
  await generateTrace(path, { rows: 20_000, seed: 3, memoryBytes: 64 * 2 ** 20, vcpus: 2 });
  await using analysis = await openAnalysis([path]);
  const views = await analysis.query('select count(*), sum(stall_ns)::bigint from conversions');
  const [last] = (await analysis.query('from memory_over_time order by seq desc limit 1')).rows;
  const report = await analyzeTrace(analysis);

  expect(report.header).toMatchObject({ path, kind: 'arrow', complete: true, rows: 20_000, words: ['generated'] });
  expect(report.phases.map(({ name }) => name)).toEqual(['firmware', 'kernel', 'userspace']);
  const sum = (numbers: readonly (bigint | null)[]): bigint =>
    numbers.reduce<bigint>((total, n) => total + (n ?? 0n), 0n);
  expect([sum(report.phases.map((p) => p.conversions)), sum(report.phases.map((p) => p.stallNs))]).toEqual(
    views.rows[0],
  );
  expect([sum(report.vcpus.map((v) => v.conversions)), sum(report.vcpus.map((v) => v.stallNs))]).toEqual(views.rows[0]);
  expect(sum(report.latency.map(({ count }) => count))).toBe(20_000n - 4n);
  expect(report.expensive.length).toBe(10);
  expect(report.expensive.map(({ stallNs }) => stallNs)).toEqual(
    report.expensive.map(({ stallNs }) => stallNs).toSorted((a, b) => Number(b - a)),
  );
  expect(report.loss).toEqual({ lostRows: 0n, lostEvents: 0n, seqMissing: 0n, ended: true, exitStatus: 0n });
  expect(report.memory?.axis).toBe('time');
  expect(report.memory?.points.length).toBeLessThanOrEqual(120);
  // trace, seq, ts_ns, then the five totals.
  const end = report.memory?.points.at(-1);
  expect(end && end.privateBytes >= Number(last?.[3]) && end.sharedBytes >= Number(last?.[4])).toBe(true);
  expect(report.notes).toEqual([]);
  expect(await analyzeTrace(analysis)).toEqual(report);
});

/** A trace of these rows without times, from a stand-in backend. */
async function writeRows(
  path: string,
  rows: readonly { op: OpName; gpa?: bigint; len?: bigint; attrs?: bigint; flags?: bigint }[],
): Promise<void> {
  const writer = TraceWriter.create(path, { ...METADATA, backend: { name: 'two-memfd', standIn: true } });
  const column = (name: 'gpa' | 'len' | 'attrs' | 'flags'): BigUint64Array =>
    BigUint64Array.from(rows, (row) => row[name] ?? 0n);
  writer.append({
    rows: rows.length,
    op: Uint8Array.from(rows, ({ op }) => opCode(op)),
    columns: { gpa: column('gpa'), len: column('len'), attrs: column('attrs'), flags: column('flags') },
    validity: {},
  });
  await writer.finish({ exitStatus: null, lostEvents: 0 });
}

test('without times, marks and conversions the report is there and says less', async () => {
  const path = join(folder, 'untimed.arrow');
  await writeRows(path, [{ op: 'gmem_allocate', gpa: 0n, len: 8192n }]);
  await using analysis = await openAnalysis([path]);
  const report = await analyzeTrace(analysis);
  expect(report.header.words).toEqual(['stand-in']);
  expect(report).toMatchObject({ phases: [], vcpus: [], expensive: [], notes: [] });
  expect(report.memory).toMatchObject({
    axis: 'seq',
    flipHistogram: [],
    mostFlipped: [],
    peak: { privateHeldBytes: 8192 },
  });
  expect(report.latency).toMatchObject([{ op: 'gmem_allocate', count: 1n, p50Ns: null }]);
});

test('a guest of a pebibyte is no more work than another', async () => {
  const path = join(folder, 'huge.arrow');
  await writeRows(path, [{ op: 'exit_map_gpa_range', gpa: 0n, len: 1n << 50n, attrs: 0n }]);
  await using analysis = await openAnalysis([path]);
  const report = await analyzeTrace(analysis);
  expect(report.memory).toMatchObject({
    peak: { sharedBytes: 2 ** 50 },
    flipHistogram: [{ flips: 0, bytes: 2 ** 50 }],
  });
  expect(report).toMatchObject({ hazards: [], notes: [] });
});

test('hazards come with the first rows of each kind, and limits can be set', async () => {
  const path = join(folder, 'hazards.arrow');
  const page = { gpa: 0n, len: 4096n };
  await writeRows(path, [
    { op: 'gmem_allocate', ...page },
    { op: 'ram_allocate', ...page },
    ...Array.from({ length: 4 }, () => ({ op: 'exit_memory_fault', ...page, attrs: 0n, flags: 8n }) as const),
    ...Array.from(
      { length: 4 },
      (_, i) => ({ op: 'exit_memory_fault', gpa: 4096n * BigInt(i + 1), len: 4096n, flags: 8n }) as const,
    ),
  ]);
  await using analysis = await openAnalysis([path]);
  const { hazards } = await analyzeTrace(analysis);
  expect(hazards).toMatchObject([{ kind: 'implicit_conversion', severity: 'warning', findings: 5 }]);
  expect(hazards?.[0]?.first.map(({ seq, gpa }) => [seq, gpa])).toEqual([
    [2, 0n],
    [6, 4096n],
    [7, 8192n],
  ]);
  const limited = await analyzeTrace(analysis, 0, { ...DEFAULT_LIMITS, doublyHeldBytes: 4095 });
  expect(limited.hazards).toMatchObject([
    { kind: 'doubly_held', findings: 1, first: [{ seq: 1, len: 4096 }] },
    { kind: 'implicit_conversion' },
  ]);
});
