import { PAGE_BYTES, type GuestRequest } from '../request.ts';
import type { Random, Weighted } from './random.ts';
import { convert, mark, write, type Range } from './requests.ts';
import { defineWorkload } from './workload.ts';

/** Pages of a bounce buffer, smallest and largest: mostly 1 or 2 as Roth saw it, 97 % under 32 KiB as edk2 did. The shares are ours. */
const BUFFER_PAGES: readonly Weighted<readonly [number, number]>[] = [
  { percent: 60, value: [1, 1] },
  { percent: 25, value: [2, 2] },
  { percent: 12, value: [3, 7] },
  { percent: 3, value: [8, 32] },
];

/** How many places an allocator hands out again before it goes on to fresh ones. */
const REMEMBERED_PLACES = 8;

export interface FlipOptions {
  readonly transactions: number;
  readonly reusePercent: number;
  readonly thinkNs: number;
}

/** DMA transactions with bounce buffers from `pool`, which is private before, between and after them. */
export function* flipTransactions(random: Random, pool: Range, options: FlipOptions): Generator<GuestRequest> {
  const allocate = bounceBuffers(random, pool, options.reusePercent);
  for (let i = 0; i < options.transactions; i++) {
    const buffer = allocate();
    yield convert(buffer, 'shared', random.pauseNs(options.thinkNs));
    yield write(buffer, 'shared');
    yield convert(buffer, 'private', random.pauseNs(options.thinkNs));
    yield write(buffer, 'private');
  }
}

/** Top down as EDK2's AllocatePages, with `reusePercent` of the buffers where a recent one of the same size has been. */
function bounceBuffers(random: Random, pool: Range, reusePercent: number): () => Range {
  const recent = new Map<number, number[]>();
  let next = pool.gpa + pool.len;
  return () => {
    const [fewest, most] = random.weighted(BUFFER_PAGES);
    const len = random.integer(fewest, most) * PAGE_BYTES;
    const places = recent.get(len) ?? [];
    if (places.length > 0 && random.chance(reusePercent)) return { gpa: random.element(places), len };
    if (next - len < pool.gpa) next = pool.gpa + pool.len;
    next -= len;
    recent.set(len, [next, ...places].slice(0, REMEMBERED_PLACES));
    return { gpa: next, len };
  };
}

export const ovmfFlip = defineWorkload({
  name: 'ovmf-flip',
  summary: 'firmware that makes a bounce buffer shared and private again for each DMA transaction',
  imitates: {
    what: 'OVMF before 2023, whose IoMmuDxe converts 1 to 2 pages, rarely more than 32 KiB, on each DMA operation of a grub boot',
    source: 'Michael Roth 2022-06-23 (20220623225949.kkdx6uwjlk2ec4iq@amd.com); edk2 PR #3709 (5,000 allocations)',
  },
  parameters: [
    { name: 'transactions', summary: 'DMA transactions', unit: 'count', default: 5000, min: 1, max: 10_000_000 },
    {
      name: 'pool',
      summary: 'memory that buffers come from',
      unit: 'bytes',
      default: 2 ** 23,
      min: 2 ** 17,
      max: 2 ** 40,
    },
    {
      name: 'reuse-percent',
      summary: 'buffers at the place of a recent one of the same size',
      unit: 'percent',
      default: 75,
      min: 0,
      max: 100,
    },
    { name: 'think', summary: 'mean pause before a conversion', unit: 'ns', default: 125_000, min: 0, max: 1e9 },
  ],
  requiredBytes: ({ pool }) => pool,
  *requests(random, memoryBytes, values) {
    const pool = { gpa: memoryBytes - values.pool, len: values.pool };
    yield mark('accept');
    yield convert(pool, 'private');
    yield mark('flip');
    yield* flipTransactions(random, pool, {
      transactions: values.transactions,
      reusePercent: values['reuse-percent'],
      thinkNs: values.think,
    });
  },
});
