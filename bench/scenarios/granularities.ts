import { type Backend, ObjectNumber } from '../../capture/backends/backend.ts';
import type { DmaTarget } from '../../capture/dma/target.ts';
import type { Side } from '../../capture/request.ts';
import { medianInterval } from '../stats/interval.ts';
import { ConversionManager } from './conversion-manager.ts';
import { MappingModel, type MappingRules } from '../dma/mapping-model.ts';
import { PageTracker } from '../dma/page-tracker.ts';
import type { Cell, ReportTable } from './scenario.ts';
import type { Stage } from './stage.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Most bytes per mapping. */
const GRANULARITIES: readonly (readonly [name: string, bytes: number])[] = [
  ['4k', 4 * KIB],
  ['64k', 64 * KIB],
  ['2m', 2 * MIB],
  ['request', Infinity],
];

/** Smallest memory that the conversions of `partialConversions` need. */
export const LEAST_MEMORY = 8 * MIB;

type Conversion = readonly [gpa: number, len: number, to: Side];

/** All of it shared and private again: every unmap fits what was mapped. */
function wholeConversions(bytes: number): Conversion[] {
  return [
    [0, bytes, 'shared'],
    [0, bytes, 'private'],
  ];
}

/** What was made shared in one request goes back in parts, of several sizes and alignments; then mixed ranges. */
function partialConversions(bytes: number): Conversion[] {
  return [
    [0, bytes, 'shared'],
    [2 * MIB, 2 * MIB, 'private'],
    [4 * MIB + 64 * KIB, 64 * KIB, 'private'],
    [5 * MIB + 12 * KIB, 4 * KIB, 'private'],
    // Across a border of 64K pieces.
    [MIB - 32 * KIB, 64 * KIB, 'private'],
    // A whole piece of 64K and a part of the next: what iommufd does by halves.
    [4 * MIB + 512 * KIB, 72 * KIB, 'private'],
    [MIB, 4 * MIB, 'shared'],
    [0, bytes, 'private'],
  ];
}

interface Run {
  readonly wholeNs: number;
  readonly partialNs: number;
  readonly whole: ConversionManager;
  readonly wholePeak: number;
  readonly partial: ConversionManager;
  readonly staleBytes: number;
}

export interface GranularitySetting {
  readonly backend: Backend;
  readonly target: DmaTarget;
  readonly rules: MappingRules;
  readonly bytes: number;
  /** Timed rounds, after one that warms up. */
  readonly rounds: number;
  readonly onProgress: (share: number, what: string) => void;
}

/** The same conversions at each granularity, in turns, into a table each for those that fit and those that do not. */
export async function compareGranularities(stage: Stage, setting: GranularitySetting): Promise<void> {
  const { rounds } = setting;
  const runs = new Map<string, Run[]>(GRANULARITIES.map(([name]) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const [index, [name, granularity]] of GRANULARITIES.entries()) {
      setting.onProgress((round + index / GRANULARITIES.length) / (rounds + 1), `${name}: round ${round} of ${rounds}`);
      const run = await runOnce(stage, setting, name, granularity, round);
      // The first round warms up: its answers count, its times do not.
      if (round > 0) runs.get(name)?.push(run);
      if (round === 0) judge(stage, name, run);
      else for (const manager of [run.whole, run.partial]) expectNoSurprise(stage, `${name}, round ${round}`, manager);
    }
  }
  const words = `${setting.target.interface}, ${rounds} rounds in turns`;
  stage.findings.tables.push(wholeTable(runs, words), partialTable(runs, words));
}

async function runOnce(
  stage: Stage,
  { backend, target, rules, bytes }: GranularitySetting,
  name: string,
  granularity: number,
  round: number,
): Promise<Run> {
  const begin = (): ConversionManager =>
    new ConversionManager(stage, backend, target, {
      memoryBytes: bytes,
      tracker: new PageTracker(),
      model: new MappingModel(rules),
      granularity,
    });
  await stage.phase(`${name}: whole, round ${round}`);
  // Else the first map of each page would also allocate and clear it, which takes longer than mapping.
  await stage.need([['ram_touch', { obj: ObjectNumber.shared, offset: 0, len: bytes, flags: 1 }]]);
  const whole = begin();
  for (const [gpa, len, to] of wholeConversions(bytes)) await whole.convert({ gpa, len }, to);
  const wholeNs = whole.counts.dmaNs;
  const wholePeak = whole.model.peak;
  await whole.clear();
  await stage.phase(`${name}: partial, round ${round}`);
  const partial = begin();
  for (const [gpa, len, to] of partialConversions(bytes)) await partial.convert({ gpa, len }, to);
  const partialNs = partial.counts.dmaNs;
  const { staleBytes } = partial;
  await partial.clear();
  return { wholeNs, partialNs, whole, wholePeak, partial, staleBytes };
}

function judge({ findings }: Stage, name: string, { whole, partial, staleBytes }: Run): void {
  for (const manager of [whole, partial]) expectNoSurpriseIn(findings, name, manager);
  findings.expect(`${name}: failures where every unmap fits`, whole.counts.failedMaps + whole.counts.failedUnmaps, 0);
  findings.expect(`${name}: bytes shared and not mapped`, partial.missingBytes, 0);
  if (name === '4k') {
    findings.expect(
      `${name}: failures of partial conversions`,
      partial.counts.failedMaps + partial.counts.failedUnmaps,
      0,
    );
    findings.expect(`${name}: bytes private and still mapped`, staleBytes, 0);
  } else {
    findings.check(
      `${name}: partial conversions fail`,
      partial.counts.failedUnmaps > 0,
      `${partial.counts.failedUnmaps} unmaps failed`,
      'some',
    );
  }
}

function expectNoSurprise({ findings }: Stage, name: string, manager: ConversionManager): void {
  if (manager.surprises.length > 0) expectNoSurpriseIn(findings, name, manager);
}

function expectNoSurpriseIn(findings: Stage['findings'], name: string, { surprises, counts }: ConversionManager): void {
  const calls = counts.maps + counts.unmaps;
  findings.check(
    `${name}: ${calls} maps and unmaps answered by the interface's rules`,
    surprises.length === 0,
    surprises.length === 0 ? 'all' : `${surprises.length} otherwise: ${surprises[0] ?? ''}`,
    'all',
  );
}

type Runs = ReadonlyMap<string, readonly Run[]>;

function wholeTable(runs: Runs, words: string): ReportTable {
  return {
    title: `Shared and private again as a whole (${words})`,
    columns: [
      { title: 'granularity', unit: 'text' },
      { title: 'maps', unit: 'count' },
      { title: 'unmaps', unit: 'count' },
      { title: 'peak mappings', unit: 'count' },
      { title: 'time', unit: 'ns' },
      { title: 'ratio to 4k', unit: 'ratio' },
    ],
    rows: rowsOf(
      runs,
      ({ wholeNs }) => wholeNs,
      ({ whole: { counts }, wholePeak }) => [counts.maps, counts.unmaps, wholePeak],
    ),
    notes: [
      'time is in the mapping and unmapping calls alone, of memory that was touched before; each mapping counts against dma_entry_limit of type1',
    ],
  };
}

function partialTable(runs: Runs, words: string): ReportTable {
  return {
    title: `Private again in parts (${words})`,
    columns: [
      { title: 'granularity', unit: 'text' },
      { title: 'maps', unit: 'count' },
      { title: 'failed', unit: 'count' },
      { title: 'unmaps', unit: 'count' },
      { title: 'failed', unit: 'count' },
      { title: 'errnos', unit: 'text' },
      { title: 'stale', unit: 'bytes' },
      { title: 'time', unit: 'ns' },
      { title: 'ratio to 4k', unit: 'ratio' },
    ],
    rows: rowsOf(
      runs,
      ({ partialNs }) => partialNs,
      ({ partial: { counts }, staleBytes }) => [
        counts.maps,
        counts.failedMaps,
        counts.unmaps,
        counts.failedUnmaps,
        [...counts.errnos].map(([errno, count]) => `${count} ${errno}`).join(', '),
        staleBytes,
      ],
    ),
    notes: [
      'maps allocate what had been discarded; stale: private again, and still mapped for the device; a time with failures in it is the time of less work',
    ],
  };
}

/** Name, what the last run says of itself, time, and its ratio to the first granularity. */
function rowsOf(runs: Runs, timeOf: (run: Run) => number, middle: (run: Run) => Cell[]): Cell[][] {
  const [base = []] = [...runs.values()];
  return [...runs].map(([name, of]) => {
    const last = of.at(-1);
    return [
      name,
      ...(last ? middle(last) : []),
      // Medians, as a round in which something else ran says nothing.
      medianInterval(of.map(timeOf)),
      medianInterval(of.map((run, round) => timeOf(run) / timeOf(base[round] ?? run))),
    ];
  });
}
