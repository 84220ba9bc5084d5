/** The comparison of two sides as text, or as Markdown for a mail or a pull request. */
import type { ComparedGroup, ComparedMeasure, CompareReport } from '../bench/compare/comparison.ts';
import { MEASURES, type Measure } from '../bench/compare/measures.ts';
import type { Fact, MetadataDifference } from '../bench/compare/metadata-difference.ts';
import { count, interval, percent, phaseText, pText, ratioCell, ratioText, time } from './compare-cells.ts';
import { formatBytes } from './format-bytes.ts';
import { formatCount, formatCountOf } from './format-count.ts';
import type { Column } from './format-table.ts';
import { MARKDOWN_PAGE, textPage, type Page } from './page.ts';
import type { Style } from './style.ts';

/** More are in the tables below them. */
const MAX_CALLED = 20;

/** @param markdown with headings and tables of Markdown */
export function formatCompare(report: CompareReport, style: Style, markdown = false): string {
  const page = markdown ? MARKDOWN_PAGE : textPage(style);
  const words = wordsText(report.words);
  const section = (title: string, ...parts: readonly string[]): string[] => {
    const body = parts.filter((part) => part !== '');
    return body.length === 0 ? [] : [page.heading(title) + body.join(page.gap)];
  };
  const shared = report.groups.filter(({ a, b }) => a !== null && b !== null);
  const kind = (name: ComparedGroup['kind']): ComparedGroup[] => shared.filter((group) => group.kind === name);
  return [
    ...section('Two sides', sidesTable(report, page)),
    ...section(
      'How they were made',
      report.differences.length === 0
        ? page.lines(['alike: no difference of host, kernel, guest, command, workload or strategy'])
        : differencesTable(report.differences, page),
    ),
    ...section(`What differs${words}`, calledTable(report, page), page.lines(conclusions(report))),
    ...section(`How long it lasted${words}`, lengthTable(kind('length'), page)),
    ...section(`Stall in conversions${words}`, groupTable(report, kind('conversions'), 'DIRECTION', page)),
    ...section(`Operations${words}`, groupTable(report, kind('operations'), 'OPERATION', page)),
    ...section(`Failures${words}`, failuresTable(report, page)),
    ...section('On one side only', oneSidedTable(report, page)),
    ...section('How far this carries', page.lines([...method(report), ...report.notes])),
  ].join('\n');
}

/** " (emulated)", or " (B: emulated)" where it is not so on both sides. */
function wordsText({ a, b }: CompareReport['words']): string {
  const [ofA, ofB] = [a.join(', '), b.join(', ')];
  const named = [...(ofA === '' ? [] : [`A: ${ofA}`]), ...(ofB === '' ? [] : [`B: ${ofB}`])].join('; ');
  if (named === '') return '';
  return ofA === ofB ? ` (${ofA})` : ` (${named})`;
}

function sidesTable({ sides }: CompareReport, page: Page): string {
  const row = (side: string, paths: readonly string[]): string[] => [side, formatCount(paths.length), paths.join(', ')];
  return page.table([{ title: 'SIDE' }, right('TRACES'), { title: 'WHICH' }], [row('A', sides.a), row('B', sides.b)]);
}

function differencesTable(differences: readonly MetadataDifference[], page: Page): string {
  return page.table(
    [{ title: 'WHAT' }, { title: 'A' }, { title: 'B' }],
    differences.map(({ label, unit, a, b }) => [label, factsText(a, unit), factsText(b, unit)]),
  );
}

function factsText(facts: readonly Fact[], unit: MetadataDifference['unit']): string {
  return facts
    .map((fact) => {
      if (fact === null) return '-';
      if (typeof fact === 'string') return fact;
      return unit === 'bytes' ? formatBytes(fact) : formatCount(fact);
    })
    .join(' | ');
}

/** The differences that are called, those that cost or save the most first. */
function calledTable(report: CompareReport, page: Page): string {
  const called = report.groups
    .flatMap((group) => MEASURES.flatMap((measure) => calledMeasure(group, measure)))
    .sort((x, y) => cost(y) - cost(x));
  return page.table(
    [
      { title: 'WHERE' },
      { title: 'MEASURE' },
      ...['A', 'B', 'B / A', 'INTERVAL', 'P'].map(right),
      ...(report.unit === 'runs' ? [right('NOISE')] : []),
      { title: 'B IS' },
    ],
    called
      .slice(0, MAX_CALLED)
      .map(({ group, measure, compared }) => [
        where(group, report),
        measure,
        time(compared.aNs),
        time(compared.bNs),
        compared.ratio === null ? 'from 0' : ratioText(compared.ratio),
        interval(compared),
        pText(compared.pAdjusted),
        ...(report.unit === 'runs' ? [compared.noise === null ? '' : ratioText(compared.noise)] : []),
        compared.verdict,
      ]),
  );
}

interface Called {
  readonly group: ComparedGroup;
  readonly measure: Measure;
  readonly compared: ComparedMeasure;
}

function calledMeasure(group: ComparedGroup, measure: Measure): Called[] {
  const compared = group.measures[measure];
  if (compared?.verdict !== 'slower' && compared?.verdict !== 'faster') return [];
  return [{ group, measure, compared }];
}

/** ns that the difference comes to in a run, by the number of calls for a quantile. */
function cost({ group, measure, compared }: Called): number {
  const calls =
    measure === 'total' ? 1 : Math.max(group.a?.count ?? 0, group.b?.count ?? 0) * (measure === 'p50' ? 1 : 0.01);
  return Math.abs((compared.bNs ?? 0) - (compared.aNs ?? 0)) * calls;
}

function conclusions({ verdicts, unit, noise, threshold, regressions }: CompareReport): string[] {
  const { slower, faster, indistinct, unjudged } = verdicts;
  const judged = slower + faster + indistinct;
  const called =
    judged === 0
      ? 'nothing could be judged'
      : `${formatCountOf(judged, 'measure')} judged: ${formatCount(slower)} slower on B, ${formatCount(faster)} faster, ${formatCount(indistinct)} ~`;
  const more = slower + faster - MAX_CALLED;
  return [
    ...(more > 0 ? [`and ${formatCount(more)} more, in the tables below`] : []),
    `${called}${judged > 0 && unjudged > 0 ? `; ${formatCount(unjudged)} could not be` : ''}`,
    ...(unit === 'runs' ? [noiseText(noise)] : []),
    ...(threshold === null
      ? []
      : [
          regressions.length === 0
            ? `nothing is slower by more than ${percent(1 + threshold)}`
            : `${formatCountOf(regressions.length, 'measure')} slower by more than ${percent(1 + threshold)}: a regression`,
        ]),
  ];
}

function noiseText(noise: CompareReport['noise']): string {
  const floors = MEASURES.flatMap((measure) => {
    const floor = noise[measure];
    return floor ? [`${measure} ${percent(floor.median)} (at most ${percent(floor.largest)})`] : [];
  });
  return floors.length === 0
    ? 'noise: unknown'
    : `noise, runs of one side against each other, in the middle group (and the noisiest): ${floors.join(', ')}`;
}

function lengthTable(groups: readonly ComparedGroup[], page: Page): string {
  return page.table(
    [{ title: 'PHASE' }, ...['A', 'B', 'B / A', 'P'].map(right)],
    groups.map((group) => {
      const { total } = group.measures;
      return [
        group.name === 'trace' ? '(the whole trace)' : phaseText(group),
        time(total?.aNs),
        time(total?.bNs),
        ratioCell(total),
        pText(total?.pAdjusted ?? null),
      ];
    }),
  );
}

function groupTable(report: CompareReport, groups: readonly ComparedGroup[], title: string, page: Page): string {
  const byPhase = report.by !== 'op';
  const bySize = report.by === 'phase,op,size';
  return page.table(
    [
      ...(byPhase ? [{ title: 'PHASE' }] : []),
      { title },
      ...(bySize ? [{ title: 'SIZE' }] : []),
      ...[
        'COUNT A',
        'COUNT B',
        'P50 A',
        'P50 B',
        'B / A',
        'P',
        'P99 A',
        'P99 B',
        'B / A',
        'TOTAL A',
        'TOTAL B',
        'B / A',
      ].map(right),
    ],
    groups.map((group) => {
      const { p50, p99, total } = group.measures;
      return [
        ...(byPhase ? [phaseText(group)] : []),
        group.name,
        ...(bySize ? [group.size === 'none' ? '' : (group.size ?? '')] : []),
        count(group.a?.count),
        count(group.b?.count),
        time(p50?.aNs),
        time(p50?.bNs),
        ratioCell(p50),
        pText(p50?.pAdjusted ?? null),
        time(p99?.aNs),
        time(p99?.bNs),
        ratioCell(p99),
        time(total?.aNs),
        time(total?.bNs),
        ratioCell(total),
      ];
    }),
  );
}

/** Groups of which calls fail on one side more often than on the other. */
function failuresTable(report: CompareReport, page: Page): string {
  const differing = report.groups.filter(({ a, b }) => (a?.errors ?? 0) !== (b?.errors ?? 0));
  return page.table(
    [{ title: 'WHERE' }, ...['FAILED A', 'OF', 'FAILED B', 'OF'].map(right)],
    differing.map((group) => [
      where(group, report),
      count(group.a?.errors ?? 0),
      count(group.a?.count ?? 0),
      count(group.b?.errors ?? 0),
      count(group.b?.count ?? 0),
    ]),
  );
}

function oneSidedTable(report: CompareReport, page: Page): string {
  return page.table(
    [{ title: 'SIDE' }, { title: 'WHERE' }, right('COUNT'), right('TOTAL')],
    report.groups
      .filter(({ a, b }) => (a === null) !== (b === null))
      .map((group) => {
        const side = group.a ?? group.b;
        const cells = [group.kind === 'length' ? '' : count(side?.count), time(side?.totalNs)];
        return [group.a === null ? 'B' : 'A', where(group, report), ...cells];
      }),
  );
}

/** How the numbers came about. */
function method({ unit, effect, level, sides }: CompareReport): string[] {
  return [
    unit === 'calls'
      ? 'the samples are the calls of one run per side: Mann-Whitney U on their durations, bootstrap of their median'
      : `the samples are runs, ${sides.a.length} of A and ${sides.b.length} of B: p50, p99 and total of each; what is shown is their median; Mann-Whitney U and bootstrap over the runs`,
    `~: p (adjusted after Benjamini and Hochberg) above ${level}, less than ${percent(1 + effect)}${unit === 'runs' ? ', within the noise' : ''}, or an interval with 1 in it`,
  ];
}

function where(group: ComparedGroup, { by }: CompareReport): string {
  if (group.kind === 'length') return group.name === 'trace' ? 'the whole trace' : `phase ${phaseText(group)}`;
  const what = group.kind === 'conversions' ? `conversions ${group.name}` : group.name;
  return [
    ...(by === 'op' ? [] : [phaseText(group)]),
    what,
    ...(group.size === null || group.size === 'none' ? [] : [group.size]),
  ].join(' ');
}

function right(title: string): Column {
  return { title, align: 'right' };
}
