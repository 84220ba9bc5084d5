import { PAGE_BYTES, type GuestRequest } from '../request.ts';
import type { Random, Weighted } from './random.ts';
import { convert, firstPercent, mark, read, STEP_BYTES, write, type Range } from './requests.ts';
import { defineWorkload } from './workload.ts';

/** Pages of one bounce. Linux maps at most 256 KiB at once (IO_TLB_SEGSIZE slots of 2 KiB); the shares are ours. */
const BOUNCE_PAGES: readonly Weighted<number>[] = [
  { percent: 70, value: 1 },
  { percent: 20, value: 4 },
  { percent: 8, value: 16 },
  { percent: 2, value: 64 },
];

/** The least pool that holds the largest bounce. */
export const MIN_SWIOTLB_BYTES = 64 * PAGE_BYTES;

/** The whole pool, private before, to shared: in one request, or in pieces of `stepBytes` if that is not 0. */
export function* shareSwiotlb(pool: Range, stepBytes: number): Generator<GuestRequest> {
  const step = stepBytes === 0 ? pool.len : stepBytes;
  for (let done = 0; done < pool.len; done += step) {
    yield convert({ gpa: pool.gpa + done, len: Math.min(step, pool.len - done) }, 'shared');
  }
}

/** DMA through the shared pool, one slot area after the other, around and around; nothing is converted. */
export function* bounce(random: Random, pool: Range, bounces: number): Generator<GuestRequest> {
  let next = 0;
  for (let i = 0; i < bounces; i++) {
    const len = random.weighted(BOUNCE_PAGES) * PAGE_BYTES;
    if (next + len > pool.len) next = 0;
    const area = { gpa: pool.gpa + next, len };
    yield random.chance(50) ? write(area, 'shared') : read(area, 'shared');
    next += len;
  }
}

/** The pool's place: at the top of memory, aligned to 2 MiB where there is room, as Linux allocates it from the top. */
export function swiotlbPool(memoryBytes: number, len: number): Range {
  const top = memoryBytes - len;
  return { gpa: len >= STEP_BYTES ? top - (top % STEP_BYTES) : top, len };
}

export const swiotlb = defineWorkload({
  name: 'swiotlb',
  summary: 'one large range to shared at once, then only used',
  imitates: {
    what: 'Linux in a confidential guest: the bounce buffer of all DMA, 64 MiB or more, is made shared once at boot',
    source:
      'kernel/dma/swiotlb.c, swiotlb_update_mem_attributes(); dstack PR #1220 (68 s for 1 GiB in a TD of 248 vCPUs)',
  },
  parameters: [
    { name: 'size', summary: 'the range', unit: 'bytes', default: 2 ** 26, min: MIN_SWIOTLB_BYTES, max: 2 ** 40 },
    {
      name: 'step',
      summary: 'most bytes per request; 0 for one request, 2M for what KVM makes of it for a TD (TDX_MAP_GPA_MAX_LEN)',
      unit: 'bytes',
      default: 0,
      min: 0,
      max: 2 ** 40,
    },
    {
      name: 'touch-percent',
      summary: 'part of the range that was in use before: what a discard of the private side has to free',
      unit: 'percent',
      default: 10,
      min: 0,
      max: 100,
    },
    { name: 'bounces', summary: 'DMA transfers through it', unit: 'count', default: 1000, min: 0, max: 10_000_000 },
  ],
  requiredBytes: ({ size }) => size,
  *requests(random, memoryBytes, values) {
    const pool = swiotlbPool(memoryBytes, values.size);
    yield mark('accept');
    yield convert(pool, 'private');
    const used = firstPercent(pool, values['touch-percent']);
    if (used) yield write(used, 'private');
    yield mark('share');
    yield* shareSwiotlb(pool, values.step);
    yield mark('bounce');
    yield* bounce(random, pool, values.bounces);
  },
});
