/**
 * Two sides, each of one or several traces, against each other: what differs in how they were made, and then, aligned by phase and operation, how
 * often and how long. The findings are values; printing them is the command line's.
 *
 * One trace against another compares the calls in them, which says how sure it is that these two runs differ. With several traces on a side the run is the
 * unit: each has one median, one 99th percentile and one total, and the differences between runs of the same side are the noise.
 */
import { qualifiers, type Analysis, type OpenTrace } from '../../analyze/index.ts';
import { adjustForMany } from '../stats/false-discovery.ts';
import { median } from '../stats/interval.ts';
import { compareCalls } from './calls.ts';
import { cautionsOf, notesOf } from './cautions.ts';
import { readGroups, type Group, type Grouping } from './groups.ts';
import { judge, LEVEL, type Reason, type Verdict } from './judge.ts';
import { compareRuns, compareSingle, MEASURES, type Draft, type Measure } from './measures.ts';
import { diffMetadata, type MetadataDifference } from './metadata-difference.ts';

export interface CompareOptions {
  /** Numbers of the traces of each side in the analysis, all different and at least one. */
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly by: Grouping;
  /** Least relative difference that is called one: 0.05 for 5 %. */
  readonly effect: number;
  /** Relative slowdown above which a difference is a regression; null: none is. */
  readonly threshold: number | null;
}

/** A measure on both sides. Times in ns. */
export interface ComparedMeasure {
  /** Of several runs their median; null if no time is known. */
  readonly aNs: number | null;
  readonly bNs: number | null;
  /** b / a; null if a side is null, or A took no time and B did. */
  readonly ratio: number | null;
  /** 95 % bootstrap interval of the ratio, not adjusted for the number of rows; `high` is null as `ratio` is. */
  readonly low: number | null;
  readonly high: number | null;
  /** Two-sided, of Mann and Whitney; null if it was not tested. */
  readonly p: number | null;
  /** The same, adjusted for all tests of the report after Benjamini and Hochberg. */
  readonly pAdjusted: number | null;
  /** Ratio within which halves of one side are apart; null for single traces. */
  readonly noise: number | null;
  readonly verdict: Verdict;
  /** Why an indistinct one is. */
  readonly why: Reason | null;
}

/** A group on one side. */
export interface ComparedSide {
  /** Traces of the side that have it. */
  readonly traces: number;
  /** Rows in a trace that has it; of several the median. */
  readonly count: number;
  readonly errors: number;
  /** Rows with a known duration. */
  readonly timed: number;
  /** ns; null if no duration is known. */
  readonly totalNs: number | null;
}

export interface ComparedGroup extends Pick<Group, 'kind' | 'phase' | 'occurrence' | 'name' | 'size'> {
  /** Null: the side has none of it. */
  readonly a: ComparedSide | null;
  readonly b: ComparedSide | null;
  /** Of a length only the total says something; a group of one side has none. */
  readonly measures: Readonly<Partial<Record<Measure, ComparedMeasure>>>;
}

/** What halves of one side say of each other, over all groups: the ratio of the middle one, and of the noisiest. */
export interface NoiseFloor {
  readonly median: number;
  readonly largest: number;
}

type Words = readonly ReturnType<typeof qualifiers>[number][];

export interface CompareReport {
  readonly sides: { readonly a: readonly string[]; readonly b: readonly string[] };
  /** Words that belong beside every number of the side: 'emulated' ... */
  readonly words: { readonly a: Words; readonly b: Words };
  readonly by: Grouping;
  /** What the samples are of: calls of one run per side, or runs. */
  readonly unit: 'calls' | 'runs';
  readonly effect: number;
  readonly threshold: number | null;
  /** Largest adjusted p of a difference that is called. */
  readonly level: number;
  readonly differences: readonly MetadataDifference[];
  readonly groups: readonly ComparedGroup[];
  /** By measure; null where no side has several runs. */
  readonly noise: Readonly<Record<Measure, NoiseFloor | null>>;
  /** How many measures of groups came out how. */
  readonly verdicts: Readonly<Record<Verdict, number>>;
  /** Measures that are slower by more than the threshold; index in `groups`. */
  readonly regressions: readonly { readonly group: number; readonly measure: Measure }[];
  /** How far these numbers carry, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * Compares traces of the analysis.
 * @returns the report, and what the user has to be warned of: losses, traces given twice, sides whose traces were not made alike
 * @throws CvmtraceError USAGE if a trace has too many phases; and as `Analysis.query`.
 */
export async function compareTraces(
  analysis: Analysis,
  options: CompareOptions,
): Promise<{ readonly report: CompareReport; readonly cautions: readonly string[] }> {
  const { a, b, by, effect, threshold } = options;
  const tracesOf = (numbers: readonly number[]): OpenTrace[] =>
    numbers.map((number) => {
      const trace = analysis.traces[number];
      if (!trace) throw new RangeError(`no trace ${number} in an analysis of ${analysis.traces.length}`);
      return trace;
    });
  const sides = { a: tracesOf(a), b: tracesOf(b) };
  const unit = a.length === 1 && b.length === 1 ? 'calls' : 'runs';
  const groups = await readGroups(analysis, [...a, ...b], by);
  const drafts =
    unit === 'calls' ? await draftsOfCalls(analysis, groups, a[0] ?? 0, b[0] ?? 0) : draftsOfRuns(groups, a, b);
  const compared = judged(groups, drafts, options);
  const differences = diffMetadata(
    sides.a.map(({ metadata }) => metadata),
    sides.b.map(({ metadata }) => metadata),
  );
  const all = compared.flatMap(({ measures }) => Object.values(measures));
  const verdicts = { slower: 0, faster: 0, indistinct: 0, unjudged: 0 };
  for (const { verdict } of all) verdicts[verdict]++;
  const report: CompareReport = {
    sides: { a: sides.a.map(({ path }) => path), b: sides.b.map(({ path }) => path) },
    words: { a: wordsOf(sides.a), b: wordsOf(sides.b) },
    by,
    unit,
    effect,
    threshold,
    level: LEVEL,
    differences,
    groups: compared,
    noise: noiseOf(drafts),
    verdicts,
    regressions: threshold === null ? [] : regressionsOf(compared, threshold),
    notes: notesOf({ unit, runsA: a.length, runsB: b.length, groups: compared }),
  };
  return { report, cautions: await cautionsOf(analysis, options, differences) };
}

function wordsOf(traces: readonly OpenTrace[]): Words {
  return [...new Set(traces.flatMap(({ metadata }) => qualifiers(metadata)))];
}

/** Drafts by group and measure; none of a group that one side lacks. */
type Drafts = readonly Readonly<Partial<Record<Measure, Draft>>>[];

async function draftsOfCalls(analysis: Analysis, groups: readonly Group[], a: number, b: number): Promise<Drafts> {
  const calls = await compareCalls(analysis, groups, a, b);
  return groups.map((group) =>
    eachMeasure(group, [a], [b], (measure) =>
      compareSingle(group, a, b, measure, group.id === null ? undefined : calls.get(group.id)),
    ),
  );
}

function draftsOfRuns(groups: readonly Group[], a: readonly number[], b: readonly number[]): Drafts {
  return groups.map((group) => eachMeasure(group, a, b, (measure) => compareRuns(group, a, b, measure)));
}

function eachMeasure(
  group: Group,
  a: readonly number[],
  b: readonly number[],
  draft: (measure: Measure) => Draft,
): Partial<Record<Measure, Draft>> {
  if (![a, b].every((traces) => traces.some((trace) => group.runs.has(trace)))) return {};
  const measures = group.kind === 'length' ? (['total'] as const) : MEASURES;
  return Object.fromEntries(measures.map((measure) => [measure, draft(measure)]));
}

function noiseOf(drafts: Drafts): Record<Measure, NoiseFloor | null> {
  const floor = (measure: Measure): NoiseFloor | null => {
    const ratios = drafts.map((draft) => draft[measure]?.noise ?? null).filter((ratio) => ratio !== null);
    return ratios.length === 0 ? null : { median: median(ratios), largest: Math.max(...ratios) };
  };
  return { p50: floor('p50'), p99: floor('p99'), total: floor('total') };
}

/** Adjusts p over all tests, and judges. */
function judged(groups: readonly Group[], drafts: Drafts, { a, b, effect }: CompareOptions): ComparedGroup[] {
  const tests = drafts.flatMap((draft) => MEASURES.map((measure) => draft[measure]?.test?.p ?? null));
  const adjusted = adjustForMany(tests);
  return groups.map((group, index) => ({
    kind: group.kind,
    phase: group.phase,
    occurrence: group.occurrence,
    name: group.name,
    size: group.size,
    a: sideOf(group, a),
    b: sideOf(group, b),
    measures: Object.fromEntries(
      MEASURES.flatMap((measure, place) => {
        const draft = drafts[index]?.[measure];
        if (!draft) return [];
        const p = adjusted[index * MEASURES.length + place] ?? null;
        return [[measure, judgedMeasure(draft, p, effect)] as const];
      }),
    ),
  }));
}

function judgedMeasure(
  { aNs, bNs, ratio, interval, test, noise }: Draft,
  pAdjusted: number | null,
  effect: number,
): ComparedMeasure {
  const { low = null, high = null } = interval ?? {};
  const { verdict, why } = judge(
    { aNs, bNs, low, high, p: pAdjusted, shareBLarger: test?.shareBLarger ?? null, noise },
    effect,
  );
  return {
    aNs,
    bNs,
    ratio: finite(ratio),
    low: finite(low),
    high: finite(high),
    p: test?.p ?? null,
    pAdjusted,
    noise,
    verdict,
    why,
  };
}

function sideOf(group: Group, traces: readonly number[]): ComparedSide | null {
  const runs = traces.map((trace) => group.runs.get(trace)).filter((run) => run !== undefined);
  if (runs.length === 0) return null;
  const totals = runs.map(({ totalNs }) => totalNs).filter((total) => total !== null);
  return {
    traces: runs.length,
    count: median(runs.map(({ count }) => count)),
    errors: median(runs.map(({ errors }) => errors)),
    timed: median(runs.map(({ timed }) => timed)),
    totalNs: totals.length === 0 ? null : median(totals),
  };
}

function regressionsOf(groups: readonly ComparedGroup[], threshold: number): CompareReport['regressions'] {
  return groups.flatMap(({ measures }, group) =>
    MEASURES.filter((measure) => {
      const compared = measures[measure];
      // Without a ratio A took no time: more than any threshold.
      return compared?.verdict === 'slower' && (compared.ratio ?? Infinity) > 1 + threshold;
    }).map((measure) => ({ group, measure })),
  );
}

function finite(value: number | null): number | null {
  return value !== null && Number.isFinite(value) ? value : null;
}
