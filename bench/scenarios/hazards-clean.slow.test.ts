/** No hazard where nothing is wrong: the datasets, the scenarios that run on every host, and each strategy on each backend that this host has. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import { BACKENDS } from '../../capture/backends/index.ts';
import { runWorkload } from '../../capture/run-workload.ts';
import { findWorkload } from '../../capture/workloads/registry.ts';
import { CvmtraceError, loadNative, PACKAGE_ROOT } from '../../native/index.ts';
import { parseStrategy, PRESETS } from '../strategies/presets.ts';
import { underStrategy } from '../strategies/strategy-plan.ts';
import { SCENARIOS } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const native = loadNative();
const signal = new AbortController().signal;
const settings = {
  memoryBytes: 2 ** 27,
  seed: 5,
  parameters: { transactions: 60, transfers: 20, 'touch-percent': 1, think: 1000, swiotlb: 2 ** 22, partial: 2 ** 21 },
};
const STRATEGIES = [
  ...PRESETS.map(({ name }) => name),
  'upm-eager,order=unmap-convert',
  'upm-eager,allocation=allocate',
];

/** Traces by what made them. */
const traces = new Map<string, string>();

async function runUnder(name: string, kind: (typeof BACKENDS)[number]): Promise<void> {
  const out = join(folder, `${traces.size}.arrow`);
  try {
    await runWorkload({
      native,
      backend: await kind.open(native),
      workload: findWorkload('boot'),
      settings,
      ...underStrategy(parseStrategy(name)),
      pacing: { pace: 'asap' },
      out,
      force: false,
      command: ['test'],
    });
    traces.set(`${name} on ${kind.name}`, out);
  } catch (error) {
    // What this kernel has not: in-place conversion, or a backend.
    if (!(error instanceof CvmtraceError && error.code === 'UNAVAILABLE')) throw error;
  }
}

beforeAll(async () => {
  const datasets = join(PACKAGE_ROOT, 'datasets');
  for (const file of readdirSync(datasets).filter((name) => name.endsWith('.parquet')))
    traces.set(file, join(datasets, file));
  for (const kind of BACKENDS) for (const name of STRATEGIES) await runUnder(name, kind);
  for (const [name, parameters] of [
    ['in-place', {}],
    ['discard', { transactions: 100, think: 1000, rounds: 2 }],
  ] as const) {
    const out = join(folder, `${name}.arrow`);
    const scenario = SCENARIOS.find((candidate) => candidate.name === name);
    await scenario?.run({ native, out, force: false, command: ['test'], signal, parameters });
    traces.set(`scenario ${name}`, out);
  }
}, 60_000);

describe('what is right', () => {
  it('was run in every way that needs no more than Linux', () => {
    // two-memfd needs memfd_create only, and all strategies but in-place.
    for (const name of STRATEGIES)
      if (name !== 'in-place') expect([...traces.keys()]).toContain(`${name} on two-memfd`);
  });

  it('has no hazard', async () => {
    const found: string[] = [];
    for (const [name, path] of traces) {
      await using analysis = await openAnalysis([path], { threads: 2 });
      const { rows } = await analysis.query('select kind, seq, explanation from hazards order by seq limit 3');
      found.push(...rows.map(([kind, seq, explanation]) => [name, kind, seq, explanation].map(String).join(': ')));
    }
    expect(found).toEqual([]);
  });
});
