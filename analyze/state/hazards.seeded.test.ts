/** Each kind of hazard in a trace that has it, and not in the same trace without the fault: in every shape that traces have. */
import { beforeAll, describe, expect, test } from 'vitest';
import { viewSql } from '../db/views.ts';
import { TALES } from '../testing/hazard-tales.ts';
import type { Finding, Tale } from '../testing/tale.ts';
import { INNOCENT_TALES, type InnocentTale } from '../testing/innocent-tales.ts';
import { hazardsByTrace, type FoundHazard } from '../testing/inline-traces.ts';
import type { InlineRow } from '../testing/inline-rows.ts';
import { HIGH, merged, PAGE, traceOf, VmmStory, type StoryOptions, type StoryRow } from '../testing/vmm-story.ts';

type Scalar = string | number | bigint | null | undefined;

interface Form extends StoryOptions {
  readonly times: boolean;
  /** Others do right things at the same time: two more vCPUs of this VM, and in a recording a second VM with devices. */
  readonly crowded: boolean;
}

/** Two halves of all forms: each has every pair of shape, interface and times, and tales take turns with them. */
const FORMS: readonly (readonly Form[])[] = [
  [
    { shape: 'own', api: 'type1', times: true, crowded: true },
    { shape: 'own', api: 'iommufd', times: false, crowded: false },
    { shape: 'recorded', api: 'type1', times: false, crowded: false },
    { shape: 'recorded', api: 'iommufd', times: true, crowded: true },
  ],
  [
    { shape: 'own', api: 'type1', times: false, crowded: true },
    { shape: 'own', api: 'iommufd', times: true, crowded: false },
    { shape: 'recorded', api: 'type1', times: true, crowded: false },
    { shape: 'recorded', api: 'iommufd', times: false, crowded: true },
  ],
];

interface Told {
  readonly tale: Tale | InnocentTale;
  readonly form: Form;
  /** The kind that is to be found; undefined: none is. */
  readonly kind: string | undefined;
  readonly rows: readonly StoryRow[];
  readonly finding: Finding;
  readonly trace: number;
}

function fits({ only = {} }: Told['tale'], form: Form): boolean {
  return (['shape', 'api', 'times'] as const).every((name) => only[name] === undefined || only[name] === form[name]);
}

/** Conversions without faults on other threads, far from what tales are about, over the same time. */
function crowd(options: StoryOptions, fromNs: number, untilNs: number): StoryRow[][] {
  const neighbours = [5, 6].map((vcpu) => {
    const vmm = new VmmStory(options);
    vmm.nowNs = fromNs + vcpu * 37;
    vmm.dma += vcpu;
    vmm.container();
    for (let i = 0; i < 12 && vmm.nowNs < untilNs; i++)
      vmm.convert(vcpu, i % 2 === 0 ? 'shared' : 'private', vcpu * 16 * PAGE, 2 * PAGE);
    return vmm.rows;
  });
  // Rows of a run name no VM, because it has one.
  if (options.shape === 'own') return neighbours;
  const other = new VmmStory({ ...options, numbersFrom: 1000 });
  other.nowNs = 1007;
  other.open();
  // The same guest-physical and I/O-virtual addresses as in the tales.
  for (let i = 0; i < 12 && other.nowNs < untilNs; i++)
    other.convert(0, i % 2 === 0 ? 'shared' : 'private', HIGH + 16 * PAGE, 2 * PAGE);
  return [...neighbours, other.rows];
}

function tell(tale: Told['tale'], form: Form, faulty: boolean): Omit<Told, 'trace'> {
  const { sharedFile = true } = tale.only ?? {};
  const options: StoryOptions = { ...form, ...('with' in tale && tale.with), sharedFile };
  const vmm = new VmmStory(options);
  if (!('attached' in tale)) vmm.open();
  const begin = vmm.nowNs;
  const kind = 'kind' in tale && faulty ? tale.kind : undefined;
  const finding = tale.tell(vmm, faulty) ?? {};
  const alone = 'attached' in tale || 'alone' in tale;
  const rows = form.crowded && !alone ? merged(vmm.rows, ...crowd(options, begin, vmm.nowNs)) : vmm.rows;
  return { tale, form, kind, rows, finding };
}

const told: Told[] = [...TALES, ...INNOCENT_TALES]
  .flatMap((tale, number) =>
    (FORMS[number % 2] ?? [])
      .filter((form) => fits(tale, form))
      .flatMap((form) => ('kind' in tale ? [true, false] : [false]).map((faulty) => tell(tale, form, faulty))),
  )
  .map((one, trace) => ({ ...one, trace }));

let found: Map<number, FoundHazard[]>;
beforeAll(async () => {
  const rows: InlineRow[] = told.flatMap(({ rows, form, trace }) => traceOf(rows, trace, form.times));
  found = await hazardsByTrace(rows);
}, 60_000);

/** What is wrong with what was found in a trace; nothing if it is what its tale says. */
function problems({ form, kind, rows, finding, trace }: Told): string[] {
  const hazards = found.get(trace) ?? [];
  const wanted = kind === undefined ? [] : [kind];
  const kinds = hazards.map((hazard) => hazard.kind);
  if (kinds.join() !== wanted.join())
    return [`found [${kinds.join(', ')}]: ${hazards.map((h) => h.explanation).join(' | ')}`];
  const [hazard] = hazards;
  if (!hazard) return [];
  const seqOf = (row: StoryRow): number => rows.indexOf(row);
  const wrong: string[] = [];
  const compare = (what: string, got: Scalar, want: Scalar): void => {
    if (want !== undefined && got !== want) wrong.push(`${what} ${String(got)}, not ${String(want)}`);
  };
  compare('severity', hazard.severity, finding.severity);
  compare('seq', hazard.seq, finding.at && seqOf(finding.at));
  for (const name of ['gpa', 'iova', 'len', 'count'] as const) compare(name, hazard[name], finding[name]);
  if (form.times) compare('age', hazard.age_ns, finding.ageNs);
  compare('ts_ns', hazard.ts_ns, form.times ? rows[hazard.seq]?.ts_ns : null);
  const missing = (finding.proof ?? []).flatMap((row) =>
    row && !hazard.proof.includes(seqOf(row)) ? [seqOf(row)] : [],
  );
  if (missing.length > 0) wrong.push(`proof ${hazard.proof.join()} without ${missing.join()}`);
  if (hazard.explanation === '') wrong.push('no explanation');
  return wrong;
}

function nameOf({ shape, api, times, crowded }: Form): string {
  return [shape, api, times ? 'times' : 'no times', ...(crowded ? ['crowded'] : [])].join(', ');
}

function wrongIn(tale: Told['tale']): string[] {
  return told
    .filter((one) => one.tale === tale)
    .flatMap((one) =>
      problems(one).map((problem) => `${one.kind ? 'faulty' : 'correct'} (${nameOf(one.form)}): ${problem}`),
    );
}

const KINDS = [...new Set(TALES.map(({ kind }) => kind))];

describe.each(KINDS)('%s', (kind) => {
  test.each(TALES.filter((tale) => tale.kind === kind).map((tale) => [tale.title, tale] as const))('%s', (_, tale) => {
    expect(wrongIn(tale)).toEqual([]);
  });
});

describe('no hazard', () => {
  test.each(INNOCENT_TALES.map((tale) => [tale.title, tale] as const))('%s', (_, tale) => {
    expect(wrongIn(tale)).toEqual([]);
  });
});

test('every kind that the view names is told of', () => {
  const named = /Kinds: ([^.]+)\./.exec(viewSql('hazards').replaceAll(/\n-- ?/g, ' '))?.[1]?.split(',') ?? [];
  expect(KINDS.toSorted()).toEqual(named.map((name) => name.trim()).toSorted());
});
