/** The report of `analyze` as text. What qualifies its numbers ("stand-in", "emulated", "generated") is in every heading above numbers. */
import { HAZARD_KINDS, type GuestReport, type MemoryReport, type Report } from '../analyze/index.ts';
import { describeMetadata } from './describe-metadata.ts';
import { formatBytes, significant } from './format-bytes.ts';
import { formatCount, formatCountOf } from './format-count.ts';
import { formatDuration } from './format-duration.ts';
import { formatFields } from './format-fields.ts';
import { formatPlot } from './format-plot.ts';
import { formatTable } from './format-table.ts';
import type { Style } from './style.ts';

/** A report has tables of so many columns that a plot should not be wider. */
const MAX_PLOT_CHARS = 100;

const UNKNOWN = '-';

/** A test suite makes a VM per test. */
const MAX_GUESTS = 8;

/**
 * @param width of the terminal, characters
 * @returns some sections, each with a heading, and an empty line between two
 */
export function formatReport(report: Report, style: Style, width = MAX_PLOT_CHARS): string {
  const words = report.header.words.length > 0 ? ` (${report.header.words.join(', ')})` : '';
  const section = (title: string, text: string): string[] =>
    text === '' ? [] : [`${style.heading(`${title}${words}`)}\n${text}`];
  return [
    ...section(report.header.path, aboutTrace(report)),
    ...section('Hazards', hazards(report)),
    ...section('By phase', phases(report)),
    ...section('By vCPU', vcpus(report)),
    ...section('Exits to user space', exits(report)),
    ...section('Latency by operation and size', latency(report)),
    ...section('The most expensive ranges', expensive(report)),
    ...(report.memory ? memorySections(report.memory, Math.min(width, MAX_PLOT_CHARS), section) : []),
    ...section('Lost or left out', missing(report)),
  ].join('\n');
}

function aboutTrace({ header: { metadata, rows }, guests }: Report): string {
  const shown = describeMetadata({ ...metadata, leftOut: [] });
  if (guests.length === 0) return formatFields([['rows', formatCount(rows)], ...shown]);
  const described = guests.slice(0, MAX_GUESTS).map((guest) => ['guest', describeGuest(guest)] as const);
  const more = guests.length - MAX_GUESTS;
  return formatFields([
    ['rows', formatCount(rows)],
    ...shown.filter(([label]) => label !== 'guest'),
    ...described,
    ...(more > 0 ? [['guest', `and ${formatCountOf(more, 'VM')} more`] as const] : []),
  ]);
}

function describeGuest({ vm, vmType, vcpus, slotBytes }: GuestReport): string {
  return [
    `VM${vm === null ? '' : ` (object ${vm})`} of ${vmType === null ? 'unknown type' : `type ${vmType}`}`,
    ...(vcpus === null ? [] : [formatCountOf(vcpus, 'vCPU')]),
    `${formatBytes(slotBytes)} in slots`,
  ].join(', ');
}

/** By severity; of each kind the first, with the rows that prove it. */
function hazards({ hazards: all }: Report): string {
  if (all === null) return '';
  if (all.length === 0)
    return `  none of the ${HAZARD_KINDS.length} kinds that are looked for (cvmtrace sql --describe hazards)\n`;
  return all
    .map(({ kind, severity, findings, first }) =>
      [
        `  ${severity}: ${kind}${findings === 1 ? '' : `, ${formatCount(findings)} times`}`,
        ...first.map(({ seq, ns, explanation, proof, ageNs }) => {
          const when = ns < 0 ? '' : ` at ${formatDuration(ns)}`;
          const age = ageNs === undefined ? '' : `, ${formatDuration(ageNs)} after it`;
          const rows = proof.filter((row) => row !== seq);
          const proved = rows.length === 0 ? '' : ` (with ${rows.length === 1 ? 'row' : 'rows'} ${rows.join(', ')})`;
          return `    row ${seq}${when}${proved}${age}: ${explanation}`;
        }),
        ...(findings > first.length ? [`    ... all: select * from hazards where kind = '${kind}'`] : []),
        '',
      ].join('\n'),
    )
    .join('');
}

function phases({ phases: all, header }: Report): string {
  // What was not done took no time, which is not to be read as "for free".
  const noAttributes = header.metadata.leftOut.some(({ step }) => step === 'attributes');
  return formatTable(
    [
      { title: '  PHASE' },
      ...[
        'LENGTH',
        'CONVERSIONS',
        'TO SHARED',
        'TO PRIVATE',
        'FAILED',
        'STALL',
        'ATTRIBUTES',
        'DISCARD',
        'ALLOCATE',
      ].map(number),
      ...(dmaUsed(all) ? [number('DMA')] : []),
    ],
    all.map((phase) => [
      `  ${phase.name ?? (all.length === 1 ? '(the whole trace)' : '(before the first mark)')}`,
      duration(phase.durNs),
      formatCount(phase.conversions),
      formatBytes(phase.toSharedBytes),
      formatBytes(phase.toPrivateBytes),
      formatCount(phase.failed),
      duration(phase.conversions === 0n ? 0n : phase.stallNs),
      noAttributes ? 'left out' : formatDuration(phase.attributeNs),
      formatDuration(phase.discardNs),
      formatDuration(phase.allocateNs),
      ...(dmaUsed(all) ? [formatDuration(phase.dmaNs)] : []),
    ]),
  );
}

function dmaUsed(all: Report['phases']): boolean {
  return all.some(({ dmaNs }) => dmaNs > 0n);
}

function vcpus({ vcpus: all }: Report): string {
  if (all.length === 0) return '';
  return formatTable(
    [{ title: '  VCPU' }, ...['CONVERSIONS', 'STALL', 'OF THE TIME'].map(number)],
    all.map(({ vcpu, conversions, stallNs, stallShare }) => [
      `  ${vcpu ?? 'unknown'}`,
      formatCount(conversions),
      duration(stallNs),
      stallShare === null ? UNKNOWN : `${significant(stallShare * 100)} %`,
    ]),
  );
}

function exits({ exits: all }: Report): string {
  if (all.length === 0) return '';
  return formatTable(
    [{ title: '  REASON' }, ...['EXITS', 'UNTIL IT RAN AGAIN', 'IN THE GUEST'].map(number)],
    all.map((row) => [`  ${row.name}`, formatCount(row.exits), duration(row.handledNs), duration(row.guestNs)]),
  );
}

function latency({ latency: all }: Report): string {
  return formatTable(
    [{ title: '  OPERATION' }, { title: 'SIZE' }, ...['COUNT', 'FAILED', 'TOTAL', 'P50', 'P99', 'MAX'].map(number)],
    all.map((row) => [
      `  ${row.op}`,
      row.sizeClass === 'none' ? '' : row.sizeClass,
      formatCount(row.count),
      formatCount(row.errors),
      ...[row.totalNs, row.p50Ns, row.p99Ns, row.maxNs].map(duration),
    ]),
  );
}

function expensive({ expensive: all }: Report): string {
  if (all.length === 0) return '';
  return formatTable(
    [{ title: '  GPA' }, ...['LENGTH', 'CONVERSIONS', 'FAILED', 'STALL', 'LONGEST'].map(number)],
    all.map((range) => [
      `  ${address(range.gpa)}`,
      formatBytes(range.len),
      formatCount(range.conversions),
      formatCount(range.failed),
      formatDuration(range.stallNs),
      formatDuration(range.maxStallNs),
    ]),
  );
}

/** Flips, and what was held on which side over time. */
function memorySections(
  memory: MemoryReport,
  width: number,
  section: (title: string, text: string) => string[],
): string[] {
  const flips = formatTable(
    [{ title: '  CHANGED SIDES' }, number('MEMORY')],
    flipClasses(memory).map(([times, bytes]) => [`  ${times}`, formatBytes(bytes)]),
  );
  const most = formatTable(
    [{ title: '  MOST OFTEN' }, ...['LENGTH', 'TIMES'].map(number)],
    memory.mostFlipped.map((range) => [`  ${address(range.gpa)}`, formatBytes(range.len), formatCount(range.flips)]),
  );
  const { peak, points } = memory;
  const at = points.map((point) => point.at);
  const series = [
    {
      name: 'held on the private side',
      peak: peak.privateHeldBytes,
      of: points.map((point) => point.privateHeldBytes),
    },
    { name: 'held on the shared side', peak: peak.sharedHeldBytes, of: points.map((point) => point.sharedHeldBytes) },
    { name: 'held on both sides', peak: peak.doublyHeldBytes, of: points.map((point) => point.doublyHeldBytes) },
    ...(peak.dmaMappedBytes === 0
      ? []
      : [
          {
            name: `mapped for devices (${formatCountOf(peak.liveMappings, 'mapping')} at most)`,
            peak: peak.dmaMappedBytes,
            of: points.map((point) => point.dmaMappedBytes),
          },
        ]),
  ];
  const plot = formatPlot(
    series.map(({ name, peak: bytes, of }) => ({ title: `${name}, peak ${formatBytes(bytes)}`, at, values: of })),
    width,
    { height: 4, axis: memory.axis === 'time' ? formatDuration : (rows) => formatCountOf(rows, 'row') },
  );
  return [
    ...section(
      'Flips',
      memory.flipHistogram.length === 0 ? '' : `${flips}${memory.mostFlipped.length === 0 ? '' : `\n${most}`}`,
    ),
    ...section(
      `Memory over ${memory.axis === 'time' ? 'time' : 'the rows, as not all have a time'}, computed from the calls`,
      memory.heldLeftOut === null ? plot : '',
    ),
  ];
}

/** The histogram in classes of powers of two: once, 2 to 3 times, 4 to 7 times ... */
function flipClasses({ flipHistogram }: MemoryReport): readonly (readonly [times: string, bytes: number])[] {
  const classes = new Map<number, number>();
  for (const { flips, bytes } of flipHistogram) {
    const from = flips === 0 ? 0 : 2 ** Math.floor(Math.log2(flips));
    classes.set(from, (classes.get(from) ?? 0) + bytes);
  }
  return [...classes]
    .sort(([a], [b]) => a - b)
    .map(([from, bytes]) => {
      if (from <= 1) return [from === 0 ? 'not after the first' : 'once', bytes];
      return [`${formatCount(from)} to ${formatCount(2 * from - 1)} times`, bytes];
    });
}

function missing({ header, memory, loss, notes }: Report): string {
  const fields: (readonly [string, string])[] = [];
  if (!header.complete) fields.push(['truncated', 'the trace ends with its last whole batch']);
  if (loss) {
    const { lostEvents, lostRows, seqMissing } = loss;
    fields.push([
      'lost',
      lostEvents === 0n
        ? 'no events'
        : `${formatCountOf(lostEvents, 'event')} in ${formatCountOf(lostRows, 'place')}: counts and times above are without them`,
    ]);
    if (seqMissing > 0n) fields.push(['missing', `${formatCountOf(seqMissing, 'row')}, by the gaps in seq`]);
    if (loss.exitStatus !== null && loss.exitStatus !== 0n)
      fields.push(['exit', `the traced run ended with ${loss.exitStatus}`]);
  }
  for (const { step, errno, reason } of header.metadata.leftOut) {
    fields.push(['left out', `${step}: ${reason}${errno === undefined ? '' : ` (${errno})`}`]);
  }
  if (memory && memory.heldLeftOut !== null)
    fields.push(['note', `memory over time is left out: ${memory.heldLeftOut}`]);
  for (const note of notes) fields.push(['note', note]);
  return formatFields(fields);
}

function number(title: string): { readonly title: string; readonly align: 'right' } {
  return { title, align: 'right' };
}

function duration(ns: bigint | null): string {
  return ns === null ? UNKNOWN : formatDuration(ns);
}

function address(gpa: bigint | number): string {
  return `0x${gpa.toString(16)}`;
}
