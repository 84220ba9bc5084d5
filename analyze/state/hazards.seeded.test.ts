/** Each kind of hazard in a trace that has it, and not in the same trace without the fault: in every shape that traces have. */
import { beforeAll, describe, expect, test } from 'vitest';
import { TALES, type Finding, type Tale } from '../testing/hazard-tales.ts';
import { hazardsByTrace, type FoundHazard } from '../testing/inline-traces.ts';
import type { InlineRow } from '../testing/inline-rows.ts';
import { HIGH, merged, PAGE, traceOf, VmmStory, type StoryOptions, type StoryRow } from '../testing/vmm-story.ts';

type Scalar = string | number | bigint | null | undefined;

interface Form extends StoryOptions {
  readonly times: boolean;
  /** Others do right things at the same time: two more vCPUs of this VM, and in a recording a second VM with devices. */
  readonly crowded: boolean;
}

const FORMS: readonly Form[] = (['own', 'recorded'] as const).flatMap((shape) =>
  (['type1', 'iommufd'] as const).flatMap((api) =>
    [true, false].flatMap((times) => [true, false].map((crowded) => ({ shape, api, times, crowded }))),
  ),
);

interface Told {
  readonly tale: Tale;
  readonly form: Form;
  readonly faulty: boolean;
  readonly rows: readonly StoryRow[];
  readonly finding: Finding;
  readonly trace: number;
}

function fits({ only = {} }: Tale, form: Form): boolean {
  return Object.entries(only).every(
    ([name, value]) =>
      (name === 'sharedFile' ? true : form[name as 'shape' | 'api' | 'times']) === value || name === 'sharedFile',
  );
}

/** Conversions without faults on other threads, far from what tales are about, over the same time. */
function crowd(options: StoryOptions, untilNs: number): StoryRow[][] {
  const neighbours = [1, 2].map((vcpu) => {
    const vmm = new VmmStory(options);
    const gpa = HIGH + vmm.slotBytes - (vcpu * 8 + 8) * PAGE;
    vmm.nowNs = 3000 + vcpu * 37;
    for (let i = 0; i < 12 && vmm.nowNs < untilNs; i++)
      vmm.convert(vcpu, i % 2 === 0 ? 'shared' : 'private', gpa, 2 * PAGE);
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

const told: Told[] = TALES.flatMap((tale) =>
  FORMS.filter((form) => fits(tale, form)).flatMap((form) =>
    [true, false].map((faulty): Omit<Told, 'trace'> => {
      const options: StoryOptions = {
        ...form,
        ...tale.with,
        ...(tale.only?.sharedFile !== undefined && { sharedFile: tale.only.sharedFile }),
      };
      const vmm = new VmmStory(options).open();
      const finding = tale.tell(vmm, faulty);
      const rows = form.crowded ? merged(vmm.rows, ...crowd(options, vmm.nowNs)) : vmm.rows;
      return { tale, form, faulty, rows, finding };
    }),
  ),
).map((one, trace) => ({ ...one, trace }));

let found: Map<number, FoundHazard[]>;
beforeAll(async () => {
  const rows: InlineRow[] = told.flatMap(({ rows, form, trace }) => traceOf(rows, trace, form.times));
  found = await hazardsByTrace(rows);
}, 60_000);

/** What is wrong with what was found in a trace; nothing if it is what its tale says. */
function problems({ tale, form, faulty, rows, finding, trace }: Told): string[] {
  const hazards = found.get(trace) ?? [];
  const wanted = faulty ? [tale.kind] : [];
  const kinds = hazards.map(({ kind }) => kind);
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
  compare('ts_ns', (hazard as unknown as { ts_ns: number | null }).ts_ns, form.times ? rows[hazard.seq]?.ts_ns : null);
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

describe.each([...new Set(TALES.map(({ kind }) => kind))])('%s', (kind) => {
  test.each(TALES.filter((tale) => tale.kind === kind))('$title', (tale) => {
    const wrong = told
      .filter((one) => one.tale === tale)
      .flatMap((one) =>
        problems(one).map((problem) => `${one.faulty ? 'faulty' : 'correct'} (${nameOf(one.form)}): ${problem}`),
      );
    expect(wrong).toEqual([]);
  });
});

test('every kind that the view names is told of', async () => {
  const { viewSql } = await import('../db/views.ts');
  const named = /Kinds: ([^.]+)\./.exec(viewSql('hazards').replaceAll(/\n-- ?/g, ' '))?.[1]?.split(/, */) ?? [];
  expect(new Set(TALES.map(({ kind }) => kind))).toEqual(new Set(named.map((name) => name.trim())));
});
