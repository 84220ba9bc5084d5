import type { GuestRequest } from '../request.ts';
import { acceptInSteps } from './accept.ts';
import { ringBytes, ringTransfers } from './dma-ring.ts';
import { flipTransactions } from './ovmf-flip.ts';
import { partialConversions } from './partial.ts';
import type { Random } from './random.ts';
import { mark, STEP_BYTES, type Range } from './requests.ts';
import { bounce, shareSwiotlb, swiotlbPool } from './swiotlb.ts';
import { defineWorkload } from './workload.ts';

/** 640 KiB to 1 MiB is no memory on a PC. */
const LEGACY_HOLE: Range = { gpa: 0xa_0000, len: 0x6_0000 };
const FLIP_POOL_BYTES = 2 ** 23;
const RING_BUFFERS = 128;

/** Requests of two streams on disjoint ranges, in turns at random until both are done: each keeps its own order. */
function* interleave(
  random: Random,
  first: Iterator<GuestRequest>,
  second: Iterator<GuestRequest>,
): Generator<GuestRequest> {
  const streams = [first, second];
  while (streams.length > 0) {
    const stream = random.element(streams);
    const next = stream.next();
    if (next.done) streams.splice(streams.indexOf(stream), 1);
    else yield next.value;
  }
}

export const boot = defineWorkload({
  name: 'boot',
  summary: 'firmware, kernel and user space of one boot, made of the other workloads',
  imitates: {
    what: 'the boot of a Linux guest under SNP with firmware of before 2023: the published case of 32 s, 103 s and 68 s',
    source: 'Michael Roth 2022-06-23 (20220623225949.kkdx6uwjlk2ec4iq@amd.com); the mixture is ours',
  },
  parameters: [
    {
      name: 'transactions',
      summary: 'DMA transactions of the firmware',
      unit: 'count',
      default: 5000,
      min: 1,
      max: 10_000_000,
    },
    {
      name: 'firmware-memory',
      summary: 'memory that the firmware accepts; the kernel accepts the rest',
      unit: 'bytes',
      default: 2 ** 26,
      min: 2 ** 24,
      max: 2 ** 40,
    },
    {
      name: 'swiotlb',
      summary: "the kernel's bounce buffer",
      unit: 'bytes',
      default: 2 ** 26,
      min: STEP_BYTES,
      max: 2 ** 40,
    },
    {
      name: 'transfers',
      summary: 'transfers of drivers in user space',
      unit: 'count',
      default: 1000,
      min: 1,
      max: 10_000_000,
    },
    {
      name: 'partial',
      summary: 'range shared and partly taken back in user space',
      unit: 'bytes',
      default: 2 ** 25,
      min: STEP_BYTES,
      max: 2 ** 40,
    },
    {
      name: 'touch-percent',
      summary: 'accepted memory that is written',
      unit: 'percent',
      default: 5,
      min: 0,
      max: 100,
    },
    { name: 'think', summary: 'mean pause before a conversion', unit: 'ns', default: 125_000, min: 0, max: 1e9 },
  ],
  requiredBytes: (values) =>
    // A step more: the bounce buffer is moved down to its alignment.
    values['firmware-memory'] + values.partial + ringBytes(RING_BUFFERS) + values.swiotlb + STEP_BYTES,
  *requests(random, memoryBytes, values) {
    const thinkNs = values.think;
    const accepting = { touchPercent: values['touch-percent'], thinkNs };
    const low = values['firmware-memory'];
    const bounceBuffer = swiotlbPool(memoryBytes, values.swiotlb);
    const ringArea = { gpa: bounceBuffer.gpa - ringBytes(RING_BUFFERS), len: ringBytes(RING_BUFFERS) };
    const partialRange = { gpa: ringArea.gpa - values.partial, len: values.partial };
    const aboveHole = LEGACY_HOLE.gpa + LEGACY_HOLE.len;

    yield mark('firmware');
    yield* acceptInSteps(random, { gpa: 0, len: LEGACY_HOLE.gpa }, accepting);
    yield* acceptInSteps(random, { gpa: aboveHole, len: low - aboveHole }, accepting);
    yield* flipTransactions(
      random,
      { gpa: low - FLIP_POOL_BYTES, len: FLIP_POOL_BYTES },
      { transactions: values.transactions, reusePercent: 75, thinkNs },
    );

    yield mark('kernel');
    // The bounce buffer comes first, from the top; the rest is accepted while devices already use it.
    const top = { gpa: bounceBuffer.gpa, len: memoryBytes - bounceBuffer.gpa };
    yield* acceptInSteps(random, top, accepting);
    yield* shareSwiotlb(bounceBuffer, 0);
    yield* interleave(
      random.fork(),
      acceptInSteps(random.fork(), { gpa: low, len: bounceBuffer.gpa - low }, accepting),
      bounce(random.fork(), bounceBuffer, 500),
    );

    yield mark('userspace');
    yield* interleave(
      random.fork(),
      ringTransfers(random.fork(), ringArea, {
        buffers: RING_BUFFERS,
        transfers: values.transfers,
        inFlight: 32,
        touchPercent: 25,
        thinkNs,
      }),
      partialConversions(random.fork(), partialRange, {
        pieceBytes: 2 ** 18,
        keepPercent: 25,
        touchPercent: 25,
        thinkNs,
      }),
    );
  },
});
