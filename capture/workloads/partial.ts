import { PAGE_BYTES, type GuestRequest } from '../request.ts';
import type { Random } from './random.ts';
import { convert, firstPercent, mark, write, type Range } from './requests.ts';
import { defineWorkload } from './workload.ts';

export interface PartialOptions {
  /** Largest piece, bytes. */
  readonly pieceBytes: number;
  /** Share of the pieces that stay shared. */
  readonly keepPercent: number;
  readonly touchPercent: number;
  readonly thinkNs: number;
}

/** `range`, private before, to shared as one; then pieces of it back in random order, until keepPercent of them are left. */
export function* partialConversions(random: Random, range: Range, options: PartialOptions): Generator<GuestRequest> {
  yield convert(range, 'shared', random.pauseNs(options.thinkNs));
  const used = firstPercent(range, options.touchPercent);
  if (used) yield write(used, 'shared');
  const pieces = random.shuffled(cut(random, range, options.pieceBytes));
  const kept = Math.round((pieces.length * options.keepPercent) / 100);
  for (const piece of pieces.slice(kept)) {
    yield convert(piece, 'private', random.pauseNs(options.thinkNs));
    const part = firstPercent(piece, options.touchPercent);
    if (part) yield write(part, 'private');
  }
}

function cut(random: Random, range: Range, pieceBytes: number): Range[] {
  const end = range.gpa + range.len;
  const pieces: Range[] = [];
  for (let gpa = range.gpa; gpa < end;) {
    const len = Math.min(random.integer(1, pieceBytes / PAGE_BYTES) * PAGE_BYTES, end - gpa);
    pieces.push({ gpa, len });
    gpa += len;
  }
  return pieces;
}

export const partial = defineWorkload({
  name: 'partial',
  summary: 'a large range to shared, then pieces of it back to private, some never',
  imitates: {
    what: 'a guest that shares a large range at once and takes it back in other pieces: why QEMU maps shared memory for DMA by 4 KiB',
    source:
      'Chenyi Qiang, "Enable shared device assignment", cover letters of v4 (2025-04-07) to v7; sizes and order are ours',
  },
  parameters: [
    { name: 'size', summary: 'the range', unit: 'bytes', default: 2 ** 25, min: PAGE_BYTES, max: 2 ** 40 },
    { name: 'piece', summary: 'largest piece', unit: 'bytes', default: 2 ** 18, min: PAGE_BYTES, max: 2 ** 40 },
    { name: 'keep-percent', summary: 'pieces that stay shared', unit: 'percent', default: 25, min: 0, max: 100 },
    {
      name: 'touch-percent',
      summary: 'part of each range that is used',
      unit: 'percent',
      default: 25,
      min: 0,
      max: 100,
    },
    { name: 'think', summary: 'mean pause before a conversion', unit: 'ns', default: 100_000, min: 0, max: 1e9 },
  ],
  requiredBytes: ({ size }) => size,
  *requests(random, memoryBytes, values) {
    const range = { gpa: memoryBytes - values.size, len: values.size };
    yield mark('accept');
    yield convert(range, 'private');
    const used = firstPercent(range, values['touch-percent']);
    if (used) yield write(used, 'private');
    yield mark('partial');
    yield* partialConversions(random, range, {
      pieceBytes: values.piece,
      keepPercent: values['keep-percent'],
      touchPercent: values['touch-percent'],
      thinkNs: values.think,
    });
  },
});
