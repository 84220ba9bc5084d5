import { mkdir } from 'node:fs/promises';
import type { Backend } from '../../capture/backends/backend.ts';
import { openBackend } from '../../capture/backends/index.ts';
import { withGuest } from '../../capture/backends/with-guest.ts';
import { readHostInfo } from '../../capture/host/host-info.ts';
import { runWorkload } from '../../capture/run-workload.ts';
import { ovmfFlip } from '../../capture/workloads/ovmf-flip.ts';
import { CvmtraceError, type Native } from '../../native/index.ts';
import { replay, type ReplayReport, type StrategyResult } from '../replay/replay.ts';
import type { Interval } from '../stats/interval.ts';
import { parseStrategy } from '../strategies/presets.ts';
import { underStrategy } from '../strategies/strategy-plan.ts';
import { Findings } from './findings.ts';
import type { ReportTable } from './scenario.ts';
import { defineScenario } from './stage.ts';

const MEMORY_BYTES = 2 ** 28;

interface Published {
  /** Of the kernels that were measured there. */
  readonly what: string;
  /** s; null: the mail proposes it and has no number. */
  readonly bootS: number | null;
}

/** As lazy-discard, with limits that the few MiB of the bounce buffers reach. */
const LAZY = 'lazy-discard,discard-shared=lazy:1M/256K,discard-private=lazy:1M/256K';

/** Strategies in the order of the report, and what stands beside each. The first is what the others are compared with. */
const COMPARED: ReadonlyMap<string, Published> = new Map([
  ['attributes-only', { what: 'SNP without UPM: one copy, nothing to discard', bootS: 32 }],
  ['upm-eager', { what: 'SNP with UPM', bootS: 103 }],
  ['upm-no-shared-discard', { what: 'SNP with UPM, shared memory not discarded', bootS: 68 }],
  [LAZY, { what: 'proposed there, without a number', bootS: null }],
]);

export const discard = defineScenario({
  name: 'discard',
  summary: 'firmware that flips pages at every DMA: what discarding the other side does to its boot',
  source: 'Michael Roth, 2022-06-23 (20220623225949.kkdx6uwjlk2ec4iq@amd.com): 32 s, 103 s and 68 s of boot',
  needs: 'nothing: with less of KVM, less of it is real',
  dma: [],
  parameters: [
    {
      name: 'transactions',
      summary: 'DMA transactions of the firmware',
      unit: 'count',
      default: 500,
      min: 10,
      max: 1e6,
    },
    { name: 'think', summary: 'mean pause before a conversion', unit: 'ns', default: 125_000, min: 0, max: 1e9 },
    { name: 'rounds', summary: 'timed rounds of each strategy', unit: 'count', default: 5, min: 2, max: 100 },
  ],
  async play({ run, values: { transactions, think, rounds } }) {
    const { native, out, force, command, signal } = run;
    const backend = await openWithGuest(native);
    // Where nothing touches private memory, its pages come with the conversion: otherwise discarding them would cost nothing.
    const allocation = backend.abilities.privateTouch ? '' : ',allocation=allocate';
    const findings = new Findings();
    findings.leftOut.push(...backend.leftOut);
    run.onProgress?.(0, 'recording');
    const recorded = await runWorkload({
      native,
      backend,
      workload: ovmfFlip,
      settings: { memoryBytes: MEMORY_BYTES, seed: 1, parameters: { transactions, think } },
      ...underStrategy(parseStrategy(`upm-eager${allocation}`)),
      pacing: { pace: 'relative' },
      out,
      force,
      command,
      signal,
    });
    if (recorded.interrupted) throw new CvmtraceError('INTERRUPTED', 'interrupted');
    findings.expect('failures in the recording', recorded.failures, 0);

    const folder = `${out}.replays`;
    await mkdir(folder, { recursive: true });
    const report = await replay({
      native,
      backend,
      trace: out,
      strategies: [...COMPARED.keys()].map((name) => parseStrategy(name + allocation)),
      rounds,
      pacing: { pace: 'asap' },
      folder,
      force,
      command,
      signal,
      onProgress: (share, what) => run.onProgress?.(0.1 + 0.9 * share, what),
    });
    judge(findings, report);
    const { checks, leftOut } = findings;
    return {
      scenario: 'discard',
      checks,
      tables: [bootTable(report, allocation), timeTable(report)],
      leftOut,
      emulated: readHostInfo().emulated,
      trace: out,
    };
  },
});

/** Where private memory cannot be touched through a mapping, with a guest that does it, if one runs. */
async function openWithGuest(native: Native): Promise<Backend> {
  const backend = await openBackend('auto', native);
  if (backend.abilities.privateTouch) return backend;
  try {
    return await withGuest(backend, native, 1);
  } catch (error) {
    if (error instanceof CvmtraceError && error.code === 'UNAVAILABLE') return backend;
    throw error;
  }
}

function judge(findings: Findings, { strategies, recorded }: ReplayReport): void {
  for (const { name, finalStateEqual, failures } of strategies) {
    findings.expect(
      `${name}: where memory is at the end`,
      finalStateEqual ? 'as recorded' : 'elsewhere',
      'as recorded',
    );
    findings.expect(`${name}: failures`, failures.length, 0);
  }
  const [floor = NaN, eager = NaN, noShared = NaN, lazy = NaN] = strategies.map(discardsOf);
  findings.expect('discards of the floor', floor, 0);
  findings.check(
    'discards: lazy, no shared, eager',
    0 < lazy && lazy < noShared && noShared < eager,
    [lazy, noShared, eager].join(' < '),
    'more and more',
  );
  const eagerRatio = strategies[1]?.hostTimeRatio?.value ?? NaN;
  findings.check(
    'stalls and faults of eager discards, over those of the floor',
    eagerRatio > 1,
    eagerRatio.toPrecision(3),
    'above 1',
  );
  findings.check(
    'the recording has the times that an estimate needs',
    recorded.times !== null,
    recorded.times === null ? 'no' : 'yes',
    'yes',
  );
}

const DISCARDS: ReadonlySet<string> = new Set(['ram_punch_hole', 'gmem_punch_hole', 'ram_madvise']);

function bootTable({ strategies }: ReplayReport, allocation: string): ReportTable {
  const floor = strategies[0]?.estimatedBoot?.bootNs.value ?? NaN;
  const publishedFloor = [...COMPARED.values()][0]?.bootS ?? NaN;
  return {
    title: 'Boot under each strategy, beside the published one',
    columns: [
      { title: 'strategy', unit: 'text' },
      { title: 'boot, modelled', unit: 'ns' },
      { title: 'ratio to attributes-only', unit: 'ratio' },
      { title: 'published', unit: 'ns', elsewhere: true },
      { title: 'published ratio', unit: 'ratio' },
      { title: 'published for', unit: 'text' },
    ],
    rows: strategies.map((strategy, index) => {
      const [name, { what, bootS }] = [...COMPARED][index] ?? ['', { what: '', bootS: null }];
      const boot = strategy.estimatedBoot?.bootNs ?? null;
      return [
        name,
        boot,
        boot && scaled(boot, 1 / floor),
        bootS === null ? null : bootS * 1e9,
        bootS === null ? null : bootS / publishedFloor,
        what,
      ];
    }),
    notes: [
      'the published boots are of another machine, with SNP, a whole OVMF and all its conversions: only the order and the size of ratios can be compared',
      'modelled: think time of the recording, and the stalls and faults of each replay',
      ...(allocation === ''
        ? []
        : ['nothing can touch private pages here: in every strategy they come by fallocate(2) within the conversion']),
    ],
  };
}

function timeTable({ strategies }: ReplayReport): ReportTable {
  return {
    title: 'What the kernel took',
    columns: [
      { title: 'strategy', unit: 'text' },
      { title: 'stall', unit: 'ns' },
      { title: 'faults', unit: 'ns' },
      { title: 'ratio to attributes-only', unit: 'ratio' },
      { title: 'discards', unit: 'count' },
      { title: 'held twice, peak', unit: 'bytes' },
    ],
    rows: strategies.map((strategy) => [
      strategy.name,
      strategy.stallNs,
      strategy.faultNs,
      strategy.hostTimeRatio ?? 1,
      discardsOf(strategy),
      strategy.memory.peakBothBytes,
    ]),
    notes: [],
  };
}

function discardsOf({ operations }: StrategyResult): number {
  return operations.reduce((sum, { op, perRun }) => sum + (DISCARDS.has(op) ? perRun : 0), 0);
}

function scaled({ value, low, high, runs }: Interval, factor: number): Interval {
  return {
    value: value * factor,
    low: low === null ? null : low * factor,
    high: high === null ? null : high * factor,
    runs,
  };
}
