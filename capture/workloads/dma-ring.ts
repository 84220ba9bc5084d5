import { PAGE_BYTES, type GuestRequest } from '../request.ts';
import type { Random, Weighted } from './random.ts';
import { convert, firstPercent, mark, read, write, type Range } from './requests.ts';
import { defineWorkload } from './workload.ts';

/** Pages of a buffer: packets, block requests and the odd large transfer. The shares are ours. */
const BUFFER_PAGES: readonly Weighted<number>[] = [
  { percent: 45, value: 1 },
  { percent: 20, value: 2 },
  { percent: 15, value: 4 },
  { percent: 15, value: 16 },
  { percent: 5, value: 64 },
];

/** Bytes that a ring of so many buffers takes at most. */
export function ringBytes(buffers: number): number {
  return buffers * Math.max(...BUFFER_PAGES.map(({ value }) => value)) * PAGE_BYTES;
}

export interface RingOptions {
  readonly buffers: number;
  readonly transfers: number;
  /** Buffers with the device at a time; the oldest comes back first. */
  readonly inFlight: number;
  readonly touchPercent: number;
  readonly thinkNs: number;
}

/** Transfers through a ring of buffers at fixed places in `area`, which is private before and after. */
export function* ringTransfers(random: Random, area: Range, options: RingOptions): Generator<GuestRequest> {
  const ring = layOut(random, area, options.buffers);
  const posted: Range[] = [];
  const inFlight = Math.min(options.inFlight, ring.length);
  for (let i = 0; i < options.transfers; i++) {
    // The buffer's turn has come again: whoever had it is done with it.
    if (posted.length === inFlight) yield* complete(random, posted.shift(), options);
    const buffer = ring[i % ring.length];
    if (!buffer) throw new Error('a ring without buffers');
    yield convert(buffer, 'shared', random.pauseNs(options.thinkNs));
    const used = firstPercent(buffer, options.touchPercent);
    if (used) yield write(used, 'shared');
    posted.push(buffer);
  }
  while (posted.length > 0) yield* complete(random, posted.shift(), options);
}

function* complete(random: Random, buffer: Range | undefined, options: RingOptions): Generator<GuestRequest> {
  if (!buffer) return;
  const used = firstPercent(buffer, options.touchPercent);
  if (used) yield read(used, 'shared');
  yield convert(buffer, 'private', random.pauseNs(options.thinkNs));
  if (used) yield write(used, 'private');
}

function layOut(random: Random, area: Range, buffers: number): Range[] {
  let gpa = area.gpa;
  return Array.from({ length: buffers }, () => {
    const buffer = { gpa, len: random.weighted(BUFFER_PAGES) * PAGE_BYTES };
    gpa += buffer.len;
    return buffer;
  });
}

export const dmaRing = defineWorkload({
  name: 'dma-ring',
  summary: 'a ring of buffers of mixed sizes, shared while a device has them, each used again and again',
  imitates: {
    what: 'a driver that takes and returns coherent DMA memory per transfer; Linux converts it on each allocation and each free',
    source: 'kernel/dma/direct.c, dma_set_decrypted() and dma_set_encrypted(); sizes and depth are ours',
  },
  parameters: [
    { name: 'buffers', summary: 'buffers in the ring', unit: 'count', default: 128, min: 1, max: 1_000_000 },
    { name: 'transfers', summary: 'transfers in all', unit: 'count', default: 2000, min: 1, max: 10_000_000 },
    {
      name: 'in-flight',
      summary: 'buffers with the device at a time',
      unit: 'count',
      default: 32,
      min: 1,
      max: 1_000_000,
    },
    {
      name: 'touch-percent',
      summary: 'part of each buffer that is used',
      unit: 'percent',
      default: 25,
      min: 0,
      max: 100,
    },
    { name: 'think', summary: 'mean pause before a conversion', unit: 'ns', default: 100_000, min: 0, max: 1e9 },
  ],
  requiredBytes: ({ buffers }) => ringBytes(buffers),
  *requests(random, memoryBytes, values) {
    const area = { gpa: memoryBytes - ringBytes(values.buffers), len: ringBytes(values.buffers) };
    yield mark('accept');
    yield convert(area, 'private');
    yield mark('ring');
    yield* ringTransfers(random, area, {
      buffers: values.buffers,
      transfers: values.transfers,
      inFlight: values['in-flight'],
      touchPercent: values['touch-percent'],
      thinkNs: values.think,
    });
  },
});
