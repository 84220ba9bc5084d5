/** The comparison of one measure of a group, before it is judged among all others. */
import { medianRatioInterval, ratioOf, type RatioInterval } from '../stats/bootstrap.ts';
import { median } from '../stats/interval.ts';
import { leastP, mannWhitney, type RankTest } from '../stats/mann-whitney.ts';
import { noiseRatio } from '../stats/noise-floor.ts';
import type { CallComparison } from './calls.ts';
import type { Group, RunTimes } from './groups.ts';
import { LEVEL } from './judge.ts';

export const MEASURES = ['p50', 'p99', 'total'] as const;
export type Measure = (typeof MEASURES)[number];

/** With fewer calls a 99th percentile is their longest. */
const ENOUGH_FOR_P99 = 100;

export interface Draft {
  /** ns; of several runs the median. Null where no time is known. */
  readonly aNs: number | null;
  readonly bNs: number | null;
  /** B / A; Infinity where A took no time. */
  readonly ratio: number | null;
  readonly interval: RatioInterval | null;
  readonly test: RankTest | null;
  /** Ratio within which runs of the noisier side are apart. */
  readonly noise: number | null;
}

/** Of several traces per side: the values of the runs are the samples. */
export function compareRuns(group: Group, a: readonly number[], b: readonly number[], measure: Measure): Draft {
  const [ofA, ofB] = [a, b].map((traces) => valuesOf(group, traces, measure)) as [number[], number[]];
  const draft = draftOf(ofA.length > 0 ? median(ofA) : null, ofB.length > 0 ? median(ofB) : null);
  const noises = [noiseRatio(ofA), noiseRatio(ofB)].filter((noise) => noise !== null);
  return {
    ...draft,
    interval: draft.ratio === null ? null : medianRatioInterval(ofA, ofB),
    test: isTested(group, measure) ? (mannWhitney(ofA, ofB) ?? null) : null,
    noise: noises.length > 0 ? Math.max(...noises) : null,
  };
}

/** Of one trace per side: calls are the sample for the median; one total has nothing to be tested against. */
export function compareSingle(
  group: Group,
  a: number,
  b: number,
  measure: Measure,
  calls: CallComparison | undefined,
): Draft {
  const draft = draftOf(valuesOf(group, [a], measure)[0] ?? null, valuesOf(group, [b], measure)[0] ?? null);
  return {
    ...draft,
    interval: measure === 'total' || draft.ratio === null ? null : (calls?.[measure] ?? null),
    test: measure === 'p50' && canDiffer(calls?.test) ? calls.test : null,
    noise: null,
  };
}

/** Not what says the same as another measure: of one call per run the median is the total, of a few the 99th percentile is the longest. */
function isTested({ runs }: Group, measure: Measure): boolean {
  const timed = [...runs.values()].map((run) => run.timed);
  switch (measure) {
    case 'p50':
      return timed.some((calls) => calls > 1);
    case 'p99':
      return timed.every((calls) => calls >= ENOUGH_FOR_P99);
    case 'total':
      return true;
  }
}

/** Too few calls to come out as different whatever they are would only count against the others. */
function canDiffer(test: RankTest | undefined): test is RankTest {
  return test !== undefined && leastP(test.countA, test.countB) <= LEVEL;
}

function draftOf(aNs: number | null, bNs: number | null): Draft {
  return {
    aNs,
    bNs,
    ratio: aNs === null || bNs === null ? null : ratioOf(aNs, bNs),
    interval: null,
    test: null,
    noise: null,
  };
}

/**
 * The measure in the runs of a side. A run that never did it has spent no time on it, where the side's other runs did; it has no quantile. A phase
 * that it does not have has no length.
 */
function valuesOf(group: Group, traces: readonly number[], measure: Measure): number[] {
  const runs = traces.map((trace) => group.runs.get(trace));
  if (runs.every((run) => run === undefined)) return [];
  const ofAbsent = measure === 'total' && group.kind !== 'length' ? 0 : null;
  return runs.map((run) => (run ? valueOf(run, measure) : ofAbsent)).filter((value) => value !== null);
}

function valueOf(run: RunTimes, measure: Measure): number | null {
  switch (measure) {
    case 'p50':
      return run.p50Ns;
    case 'p99':
      return run.p99Ns;
    case 'total':
      return run.totalNs;
  }
}
