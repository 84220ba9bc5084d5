/** What a reader of a comparison has to know about its traces, in sentences. */
import { statSync } from 'node:fs';
import type { Analysis } from '../../analyze/index.ts';
import { leastP } from '../stats/mann-whitney.ts';
import type { CompareOptions, ComparedGroup } from './comparison.ts';
import { LEVEL } from './judge.ts';
import type { MetadataDifference } from './metadata-difference.ts';

/** What makes the numbers of a trace less than the whole truth, and traces that were given twice. */
export async function cautionsOf(
  analysis: Analysis,
  { a, b }: Pick<CompareOptions, 'a' | 'b'>,
  differences: readonly MetadataDifference[],
): Promise<string[]> {
  const pathOf = (trace: number): string => analysis.traces[trace]?.path ?? '';
  const cautions: string[] = [];
  const { rows } = await analysis.query(
    'select trace::double, lost_events::double, seq_missing::double from loss order by trace',
  );
  for (const [trace, lost, missing] of rows) {
    if (typeof trace !== 'number' || ![...a, ...b].includes(trace)) continue;
    if (typeof lost === 'number' && lost > 0)
      cautions.push(`${pathOf(trace)} lost ${events(lost)}: its counts and times are without them`);
    if (typeof missing === 'number' && missing > 0)
      cautions.push(
        `${pathOf(trace)} lacks ${events(missing)}, by the gaps in seq: its counts and times are without them`,
      );
  }
  for (const trace of [...a, ...b]) {
    if (analysis.traces[trace]?.metadata.replay?.round === 0)
      cautions.push(
        `${pathOf(trace)} is a replay's round 0, which warms up and asks for memory: its times are not comparable`,
      );
  }
  cautions.push(...givenTwice(a.map(pathOf), b.map(pathOf)));
  const emulated = [a, b].map((traces) =>
    traces.some((trace) => analysis.traces[trace]?.metadata.host?.emulated === true),
  );
  if (emulated[0] !== emulated[1])
    cautions.push(
      `times of ${emulated[0] ? 'A' : 'B'} are those of an emulator, and those of the other side are not: ratios of them mean nothing`,
    );
  for (const [side, traces] of [
    ['A', 'a'],
    ['B', 'b'],
  ] as const) {
    const mixed = differences.filter((difference) => difference[traces].length > 1).map(({ label }) => label);
    if (mixed.length > 0)
      cautions.push(
        `the traces of ${side} were not made alike (${mixed.join(', ')}): they are compared as if they were`,
      );
  }
  return cautions;
}

function events(count: number): string {
  return `${count} ${count === 1 ? 'event' : 'events'}`;
}

function givenTwice(a: readonly string[], b: readonly string[]): string[] {
  const identity = (path: string): string => {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  };
  const [ofA, ofB] = [a, b].map((paths) => paths.map(identity)) as [string[], string[]];
  const both = a.filter((_, index) => ofB.includes(ofA[index] ?? ''));
  const repeated = [
    ...a.filter((_, index) => ofA.indexOf(ofA[index] ?? '') !== index),
    ...b.filter((_, index) => ofB.indexOf(ofB[index] ?? '') !== index),
  ];
  return [
    ...both.map((path) => `${path} is on both sides: what is the same in it is no finding`),
    ...repeated.map((path) => `${path} is there twice on one side: it is no second run`),
  ];
}

/** How far the numbers carry. */
export function notesOf({
  unit,
  runsA,
  runsB,
  groups,
}: {
  readonly unit: 'calls' | 'runs';
  readonly runsA: number;
  readonly runsB: number;
  readonly groups: readonly ComparedGroup[];
}): string[] {
  const shared = groups.filter(({ kind, a, b }) => kind !== 'length' && a !== null && b !== null);
  const notes: string[] = [];
  for (const side of ['a', 'b'] as const) {
    const there = groups.filter((group) => group.kind !== 'length' && group[side] !== null);
    if (there.length === 0) notes.push(`${side.toUpperCase()} has no operations`);
    else if (there.every((group) => group[side]?.timed === 0))
      notes.push(`${side.toUpperCase()} has no durations: only counts can be compared`);
  }
  if (shared.length === 0)
    notes.push('no operation is on both sides in a phase of the same name: nothing can be compared');
  const tests = groups.flatMap(({ measures }) => Object.values(measures)).filter(({ p }) => p !== null).length;
  if (unit === 'calls') {
    notes.push(
      'calls inside one run are not independent, and two runs of the same thing differ too: p and intervals tell these two traces apart, not what made them. ' +
        'Give several traces per side: compare A1 A2 A3 A4 A5 -- B1 B2 B3 B4 B5',
      'totals, lengths and 99th percentiles of single traces are shown and not judged',
    );
  } else if (tests > 0) {
    const least = leastP(runsA, runsB);
    const counts = `${runsA} and ${runsB} runs`;
    if (least > LEVEL)
      notes.push(
        `with ${counts} the smallest possible p is ${least.toPrecision(2)}: nothing can be significant; 4 and 4 runs are the least, 5 and 5 show what differs in several groups`,
      );
    else if (least * tests > LEVEL)
      notes.push(
        `with ${counts} the smallest possible p is ${least.toPrecision(2)}: one of ${tests} tests alone cannot be significant, several together can; ` +
          `${enoughRuns(tests)} and ${enoughRuns(tests)} runs would show one alone`,
      );
  }
  return notes;
}

/** Runs per side from which on a single difference among so many tests can be significant. */
function enoughRuns(tests: number): number {
  let runs = 1;
  while (leastP(runs, runs) * tests > LEVEL) runs++;
  return runs;
}
