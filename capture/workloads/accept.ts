import { PAGE_BYTES, type GuestRequest } from '../request.ts';
import type { Random } from './random.ts';
import { convert, firstPercent, mark, STEP_BYTES, write, type Range } from './requests.ts';
import { defineWorkload } from './workload.ts';

export interface AcceptOptions {
  /** Share of each step that is written once it is private. */
  readonly touchPercent: number;
  readonly thinkNs: number;
}

/**
 * A range to private in steps of 2 MiB at their alignment, and of 4 KiB before the first and after the last of them. In a TEE
 * the guest's validation makes the host allocate every page, which a strategy imitates by allocating; here only the used part is touched.
 */
export function* acceptInSteps(random: Random, range: Range, options: AcceptOptions): Generator<GuestRequest> {
  const end = range.gpa + range.len;
  for (let gpa = range.gpa; gpa < end;) {
    const len = gpa % STEP_BYTES === 0 && gpa + STEP_BYTES <= end ? STEP_BYTES : PAGE_BYTES;
    yield convert({ gpa, len }, 'private', random.pauseNs(options.thinkNs));
    const used = usedPart(random, { gpa, len }, options.touchPercent);
    if (used) yield write(used, 'private');
    gpa += len;
  }
}

/** What a guest uses of a step soon after accepting it: one run of pages somewhere in it, or a single page with that probability. */
function usedPart(random: Random, step: Range, percent: number): Range | undefined {
  if (step.len === PAGE_BYTES) return random.chance(percent) ? step : undefined;
  const part = firstPercent(step, percent);
  if (!part) return undefined;
  return { gpa: part.gpa + random.integer(0, (step.len - part.len) / PAGE_BYTES) * PAGE_BYTES, len: part.len };
}

export const accept = defineWorkload({
  name: 'accept',
  summary: 'all memory to private in 2 MiB steps, 4 KiB at the edges',
  imitates: {
    what: 'an SNP guest that validates its memory: a page state change for 2 MiB where alignment allows it, for 4 KiB elsewhere',
    source: 'arch/x86/coco/sev/core.c, snp_accept_memory(); unaccepted memory series, Kirill Shutemov 2022',
  },
  parameters: [
    {
      name: 'start',
      summary:
        'first address; below it nothing is accepted (1M: after the legacy hole, so that the first 1 MiB goes by 4 KiB)',
      unit: 'bytes',
      default: 2 ** 20,
      min: 0,
      max: 2 ** 40,
    },
    {
      name: 'touch-percent',
      summary: 'memory written once it is accepted',
      unit: 'percent',
      default: 5,
      min: 0,
      max: 100,
    },
    { name: 'think', summary: 'mean pause before a step', unit: 'ns', default: 50_000, min: 0, max: 1e9 },
  ],
  requiredBytes: ({ start }) => start + PAGE_BYTES,
  *requests(random, memoryBytes, values) {
    yield mark('accept');
    yield* acceptInSteps(
      random,
      { gpa: values.start, len: memoryBytes - values.start },
      { touchPercent: values['touch-percent'], thinkNs: values.think },
    );
  },
});
