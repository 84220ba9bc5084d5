import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { InlineRow } from '../../analyze/testing/inline-rows.ts';
import { writeRows } from '../../analyze/testing/write-rows.ts';
import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import { Random } from '../../capture/workloads/random.ts';
import { expectGolden } from '../testing/golden.ts';
import { runCli, type CliRun } from '../testing/run-cli.ts';
import { SAMPLE_METADATA } from '../testing/sample-trace.ts';

let folder: string;
const at = (name: string): string => join(folder, `${name}.arrow`);
const BEFORE = ['a1', 'a2', 'a3', 'a4', 'a5'];
const AFTER = ['b1', 'b2', 'b3', 'b4', 'b5'];
const sides = (a: readonly string[], b: readonly string[]): string[] => [...a.map(at), '--', ...b.map(at)];

/** Another kernel, on which the discards of private memory take half as long again; and a step that was left out before. */
const NEXT_KERNEL: TraceMetadata = {
  ...SAMPLE_METADATA,
  ...(SAMPLE_METADATA.host && {
    host: {
      ...SAMPLE_METADATA.host,
      kernel: { release: '6.19.0', version: '#1 SMP', config: { CONFIG_KVM_GUEST_MEMFD: 'y' } },
    },
  }),
  leftOut: [],
};

/** Two phases of conversions, each with its discard and a touch: about 4, 3 and 1 us, and 1 ms for the kernel's one. */
function boot(seed: number, discardFactor: number, extra: readonly InlineRow[] = []): InlineRow[] {
  const random = Random.fromSeed(seed);
  const rows: InlineRow[] = [{ op: 'kvm_create_vm', ts_ns: 100, dur_ns: 200_000 + random.integer(0, 9_999), obj: 1 }];
  let ts_ns = 300_000;
  const ofRun = 1 + random.integer(-10, 10) / 1000;
  const duration = (mean: number): number => Math.round((mean * 0.8 + random.integer(0, mean * 0.4)) * ofRun);
  const convert = (i: number, mean: number, toPrivate: boolean): void => {
    const discard = duration(mean * 0.75 * (toPrivate ? 1 : discardFactor));
    const range = { gpa: i * 4096, len: 4096, vcpu: 0 };
    const exit = discard + duration(mean * 0.25);
    rows.push({ op: 'exit_map_gpa_range', ts_ns, dur_ns: exit, attrs: toPrivate ? 16 : 0, result: 0, ...range });
    rows.push({ op: toPrivate ? 'ram_punch_hole' : 'gmem_punch_hole', ts_ns: ts_ns + 10, dur_ns: discard, ...range });
    rows.push({ op: 'ram_touch', ts_ns: ts_ns + exit + 10, dur_ns: duration(1000), ...range });
    ts_ns += exit + 20_000;
  };
  rows.push({ op: 'mark', ts_ns, detail: 'firmware' });
  for (let i = 0; i < 120; i++) convert(i % 8, 4000, i % 2 === 1);
  rows.push({ op: 'mark', ts_ns, detail: 'kernel' });
  convert(100, 1_000_000, false);
  return [...rows, ...extra];
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  for (const [i, name] of BEFORE.entries()) await writeRows(at(name), boot(i, 1), SAMPLE_METADATA);
  const failed: InlineRow = { op: 'gmem_allocate', ts_ns: 4_500_000, dur_ns: 700, errno: 28 };
  for (const [i, name] of AFTER.entries()) await writeRows(at(name), boot(10 + i, 1.5, [failed]), NEXT_KERNEL);
  await writeRows(at('empty'), [], SAMPLE_METADATA);
  await writeRows(at('without-times'), [{ op: 'ram_touch' }, { op: 'ram_touch' }], SAMPLE_METADATA);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function golden(name: string, argv: readonly string[], status = 0): Promise<CliRun> {
  const run = await runCli(['compare', ...argv]);
  expectGolden(name, run, (text) => text.replaceAll(folder, 'DIR'));
  expect(run.status).toBe(status);
  return run;
}

describe('compare', () => {
  test('two traces', () => golden('compare', [at('a1'), at('b1')]));
  test('five runs against five, with a threshold that is crossed', () =>
    golden('compare-runs', ['--threshold', '20%', ...sides(BEFORE, AFTER)], 1));
  test('as Markdown', () =>
    golden('compare-markdown', ['--format', 'markdown', '--by', 'op', ...sides(BEFORE, AFTER)]));
  test('as CSV', () => golden('compare-csv', ['--format', 'csv', '--by', 'phase,op,size', at('a1'), at('b1')]));
  test('as a document', () => golden('compare-json', ['--json', '--by', 'op', at('a1'), at('b1')]));
  test('runs of the same', () =>
    golden('compare-alike', ['--by', 'op', '--threshold', '1%', ...sides(BEFORE.slice(0, 2), BEFORE.slice(2, 4))]));
  test('with an empty one', () => golden('compare-empty', [at('a1'), at('empty')]));
  test('with one that has no times', () => golden('compare-timeless', ['--by', 'op', at('a1'), at('without-times')]));

  test('a threshold that nothing crosses is no finding, and neither is a difference below --effect', async () => {
    const of = (...options: readonly string[]): string[] => ['compare', '--by', 'op', ...options, at('a1'), at('b1')];
    expect(await runCli(of('--threshold', '80%', '--quiet'))).toMatchObject({ status: 0 });
    const run = await runCli(of('--threshold', '20%', '--effect', '90%'));
    expect(run).toMatchObject({ status: 0 });
    expect(run.stdout).toContain('0 slower on B, 0 faster');
  });

  test.each([
    [['a1'], '1 trace given, and no -- between the two sides'],
    [['a1', 'a2', 'b1'], '3 traces given, and no -- between the two sides'],
    [['--', 'a1', 'a2', 'b1'], '3 traces given, and no trace before the --'],
    [['a1', 'a2', 'b1', '--'], '3 traces given, and none after the --'],
    [['a1', 'b1', '--effect', '5'], '--effect: "5" is not a percentage'],
    [['a1', 'b1', '--threshold', '-5%'], '--threshold: "-5%" is not a percentage'],
    [['a1', 'b1', '--json', '--format', 'csv'], '--json and --format csv contradict each other'],
  ])('%j is a usage error', async (argv, message) => {
    const run = await runCli(['compare', ...argv.map((word) => (/^[ab]\d$/.test(word) ? at(word) : word))]);
    expect(run).toMatchObject({ status: 2, stdout: '' });
    expect(run.stderr).toContain(`cvmtrace compare: ${message}\nhint: `);
  });

  test('`-- A B` is two traces, and what is not there is said', async () => {
    expect((await runCli(['compare', '--', at('a1'), at('gone')])).stderr).toContain(`${at('gone')} does not exist`);
    expect(await runCli(['compare', '--', at('a1'), at('a2')])).toMatchObject({ status: 0, stderr: '' });
  });
});
