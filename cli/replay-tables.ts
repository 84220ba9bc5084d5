import { qualifiers } from '../analyze/index.ts';
import type { ReplayReport, StrategyResult } from '../bench/replay/replay.ts';
import type { Interval } from '../bench/stats/interval.ts';
import { errnoName } from './errno-name.ts';
import { formatBytes } from './format-bytes.ts';
import { formatCount } from './format-count.ts';
import { formatDuration } from './format-duration.ts';
import { formatTable } from './format-table.ts';
import type { Style } from './style.ts';

const MAPS = /^(vfio_map_dma|iommufd_ioas_map)$/;
const UNMAPS = /^(vfio_unmap_dma|iommufd_ioas_unmap)$/;

/** The comparison of a replay, as text. */
export function formatReplay(report: ReplayReport, style: Style): string {
  // A number from an emulator or a stand-in says so in its own cell, so that a copied line cannot lose it.
  const words = [...(report.backend.standIn ? ['stand-in'] : []), ...(report.emulated ? ['emulated'] : [])];
  const qualified = (text: string): string => [text, ...words].join(' ');
  const time = (ns: number): string => qualified(formatDuration(ns));
  return [
    `${report.trace}: ${formatCount(report.recorded.requests)} requests replayed on ${report.backend.name}, ${pace(report)}, ` +
      `${report.rounds} rounds of each strategy in turns; intervals are 95 %`,
    ...notes(report),
    '',
    style.heading('How long a vCPU stands still in a conversion'),
    stallTable(report, time),
    style.heading('What that does to the boot'),
    bootTable(report, time),
    ...vcpuTable(report, time, style),
    style.heading('Memory'),
    memoryTable(report, qualified),
    ...dmaTable(report, style),
    style.heading('Operations per run'),
    operationTable(report),
  ].join('\n');
}

function pace({ pacing }: ReplayReport): string {
  return pacing.mode === 'asap' ? 'as fast as possible' : `at ${pacing.factor} times the recorded pace`;
}

function notes(report: ReplayReport): string[] {
  const skipped = Object.entries(report.recorded.skipped);
  return [
    ...report.leftOut.map((step) => `left out: ${step.step}${step.errno ? ` (${step.errno})` : ''}: ${step.reason}`),
    ...(skipped.length > 0
      ? [`rows skipped: ${skipped.map(([why, count]) => `${formatCount(count)} ${why}`).join(', ')}`]
      : []),
    ...((report.recorded.times?.vcpus.length ?? 0) > 1
      ? ['the requests of all vCPUs run one after another on one thread']
      : []),
    ...(report.recorded.times && report.pacing.mode === 'asap'
      ? [
          'without the recorded pauses caches stay warm: compare the strategies with each other, or replay with --pace recorded',
        ]
      : []),
    ...(report.recorded.slotsFrom === 'requests'
      ? ['the trace names no memory slot: slots are the 2M blocks that its requests touch']
      : []),
  ];
}

function stallTable(report: ReplayReport, time: (ns: number) => string): string {
  return formatTable(
    [
      { title: 'STRATEGY' },
      ...['TOTAL', 'INTERVAL', 'P50', 'P99', 'MAX', `RATIO TO ${report.strategies[0]?.name ?? ''}`].map(right),
    ],
    report.strategies.map((strategy, index) => [
      strategy.name,
      time(strategy.stallNs.value),
      range(strategy.stallNs, formatDuration),
      time(strategy.stallP50Ns),
      time(strategy.stallP99Ns),
      time(strategy.stallMaxNs),
      ratio(strategy.stallRatio, index),
    ]),
  );
}

function bootTable(report: ReplayReport, time: (ns: number) => string): string {
  const { times } = report.recorded;
  const paced = report.pacing.mode !== 'asap';
  const recordedWords = qualifiers(report.recorded.metadata);
  const recorded = (ns: number): string => [formatDuration(ns), ...recordedWords].join(' ');
  const modelled = ['modelled', ...(recordedWords.length > 0 ? ['from', ...recordedWords] : [])].join(' ');
  return formatTable(
    [
      { title: 'STRATEGY' },
      ...[
        'FAULTS',
        'STALL + FAULTS',
        `RATIO TO ${report.strategies[0]?.name ?? ''}`,
        'WALL',
        'ESTIMATED BOOT',
        'INTERVAL',
        ...(paced ? ['LAG P50', 'LAG P99', 'LAG MAX'] : []),
      ].map(right),
    ],
    [
      ...(times
        ? [
            [
              'as recorded',
              recorded(sum(times.vcpus.map((vcpu) => vcpu.faultNs))),
              recorded(sum(times.vcpus.map((vcpu) => vcpu.faultNs + vcpu.stallNs))),
              '',
              recorded(times.wallNs),
              recorded(times.wallNs),
              '',
              ...(paced ? ['', '', ''] : []),
            ],
          ]
        : []),
      ...report.strategies.map((strategy, index) => [
        strategy.name,
        time(strategy.faultNs.value),
        time(strategy.faultNs.value + strategy.stallNs.value),
        ratio(strategy.hostTimeRatio, index),
        time(strategy.wallNs.value),
        strategy.estimatedBoot ? `${time(strategy.estimatedBoot.bootNs.value)} ${modelled}` : 'no times recorded',
        strategy.estimatedBoot ? range(strategy.estimatedBoot.bootNs, formatDuration) : '',
        ...(paced ? lagCells(strategy, time) : []),
      ]),
    ],
  );
}

/** When each vCPU would have ended; the table above has it where there is only one. */
function vcpuTable(report: ReplayReport, time: (ns: number) => string, style: Style): string[] {
  const ends = report.strategies.flatMap(({ name, estimatedBoot }) =>
    (estimatedBoot?.vcpus ?? []).map(({ vcpu, endNs }) => [
      name,
      String(vcpu),
      `${time(endNs.value)} modelled`,
      range(endNs, formatDuration),
    ]),
  );
  if (ends.length <= report.strategies.length) return [];
  return [
    style.heading('Estimated end by vCPU'),
    formatTable([{ title: 'STRATEGY' }, ...['VCPU', 'END', 'INTERVAL'].map(right)], ends),
  ];
}

function lagCells({ lag }: StrategyResult, time: (ns: number) => string): string[] {
  return lag ? [time(lag.p50Ns), time(lag.p99Ns), time(lag.maxNs)] : ['', '', ''];
}

function memoryTable(report: ReplayReport, qualified: (text: string) => string): string {
  const samples = report.strategies[0]?.memory.sampled;
  return formatTable(
    [
      { title: 'STRATEGY' },
      ...[
        'HELD TWICE, PEAK (computed)',
        `HELD TWICE, PEAK (${samples?.source ?? ''} at ${samples?.samples ?? 0} points)`,
        'PAGES AS COMPUTED',
        'STILL OWED',
        'FINAL STATE',
        'FAILED',
      ].map(right),
    ],
    report.strategies.map(({ name, memory, finalStateEqual, failures }) => {
      const { sampled } = memory;
      const agree = sampled.disagreements === 0 ? 'yes' : `not at ${sampled.disagreements} points`;
      return [
        name,
        qualified(formatBytes(memory.peakBothBytes)),
        sampled.peakBothBytesMeasured === null
          ? `unknown: ${sampled.unavailable ?? 'no sample'}`
          : qualified(formatBytes(sampled.peakBothBytesMeasured)),
        sampled.peakBothBytesMeasured === null ? 'unknown' : agree,
        formatBytes(memory.pendingBytes),
        finalStateEqual ? 'as recorded' : 'differs',
        failures.length === 0
          ? '0'
          : failures.map(({ op, errno, count }) => `${formatCount(count)} ${op} ${errnoName(errno)}`).join(', '),
      ];
    }),
  );
}

/** Mappings for DMA, where a strategy has any. */
function dmaTable({ strategies }: ReplayReport, style: Style): string[] {
  const mapping = strategies.flatMap((strategy) => (strategy.dma ? [{ ...strategy, dma: strategy.dma }] : []));
  if (mapping.length === 0) return [];
  const perRun = (strategy: StrategyResult, what: RegExp, of: 'perRun' | 'failuresPerRun'): string =>
    formatCount(sum(strategy.operations.filter(({ op }) => what.test(op)).map((operation) => operation[of])));
  return [
    style.heading('Mappings for DMA, per run'),
    formatTable(
      [
        { title: 'STRATEGY' },
        { title: 'INTERFACE' },
        ...['MAPS', 'FAILED', 'UNMAPS', 'FAILED', 'LIVE, PEAK', 'LEFT AT THE END'].map(right),
      ],
      mapping.map((strategy) => [
        strategy.name,
        strategy.dma.interface,
        perRun(strategy, MAPS, 'perRun'),
        perRun(strategy, MAPS, 'failuresPerRun'),
        perRun(strategy, UNMAPS, 'perRun'),
        perRun(strategy, UNMAPS, 'failuresPerRun'),
        formatCount(strategy.dma.peakMappings),
        `${formatCount(strategy.dma.left.entries)} of ${formatBytes(strategy.dma.left.bytes)}`,
      ]),
    ),
  ];
}

function operationTable({ strategies }: ReplayReport): string {
  const ops = [...new Set(strategies.flatMap((strategy) => strategy.operations.map(({ op }) => op)))];
  return formatTable(
    [{ title: 'OPERATION' }, ...strategies.map((strategy) => right(strategy.name))],
    ops.map((name) => [
      name,
      ...strategies.map((strategy) => {
        const operation = strategy.operations.find(({ op }) => op === name);
        return operation ? formatCount(operation.perRun) : '0';
      }),
    ]),
  );
}

function ratio(interval: Interval | null, index: number): string {
  if (index === 0) return '1';
  if (!interval) return 'none: no time';
  return `${interval.value.toPrecision(3)}${interval.low === null ? '' : ` (${range(interval, (value) => value.toPrecision(3))})`}`;
}

function range({ low, high }: Interval, format: (value: number) => string): string {
  return low === null || high === null ? 'one run' : `${format(low)} .. ${format(high)}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function right(title: string): { title: string; align: 'right' } {
  return { title, align: 'right' };
}
