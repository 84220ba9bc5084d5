/**
 * A strategy is a point in a small space: how a VMM answers a conversion. Each axis is one plain option; a preset is a named point that says whom
 * it imitates; `NAME,axis=value` moves one axis.
 */
import { PAGE_BYTES } from '../../capture/request.ts';
import { formatSize, parseSize } from '../../capture/size.ts';
import { unknownName } from '../../capture/unknown-name.ts';
import { DMA_INTERFACES, type DmaInterface } from '../../capture/dma/target.ts';
import { CvmtraceError } from '../../native/index.ts';

/** When the memory on the side that a range leaves is given back. */
export type Discard =
  | { readonly kind: 'eager' }
  | { readonly kind: 'never' }
  /** Kept until more than `limitBytes` wait, then given back oldest first until at most `limitBytes - batchBytes` wait. */
  | { readonly kind: 'lazy'; readonly limitBytes: number; readonly batchBytes: number };

/** Most bytes that one call handles; calls are cut at multiples of it. Infinity: the request as it came. */
export type Granularity = number;

export interface Axes {
  readonly attributes: Granularity;
  readonly discard: Granularity;
  readonly discardShared: Discard;
  readonly discardPrivate: Discard;
  /** `fault`: pages come when they are touched. `allocate`: fallocate(2) on the side that a range goes to, inside the request. */
  /** `pre-fault`: KVM_PRE_FAULT_MEMORY on the vCPU, which also maps them into the guest. */
  readonly allocation: 'fault' | 'allocate' | 'pre-fault';
  /** Most bytes of one mapping. */
  readonly dma: Granularity;
  /** `map-shared`: what is shared is mapped, from its conversion on. `map-all`: all memory, from the start, for good. */
  readonly dmaPolicy: 'none' | 'map-shared' | 'map-all';
  /** Of a range that becomes private: its attributes are set and then it is unmapped, or the other way round. */
  readonly order: 'convert-unmap' | 'unmap-convert';
  /** `in-place`: a range changes sides in its guest_memfd, and nothing is discarded. */
  readonly backing: 'two-copies' | 'in-place';
  /** `given`: what --dma says. */
  readonly interface: 'given' | DmaInterface;
}

interface AxisDescription {
  readonly key: keyof Axes;
  readonly summary: string;
  readonly values: string;
}

const GRANULARITIES = new Map<string, number>([
  ['request', Infinity],
  ['4k', 4096],
  ['64k', 65_536],
  ['2m', 2_097_152],
]);

/** Values of the axes that are words. */
const WORDS = {
  allocation: ['fault', 'allocate', 'pre-fault'],
  dmaPolicy: ['none', 'map-shared', 'map-all'],
  order: ['convert-unmap', 'unmap-convert'],
  backing: ['two-copies', 'in-place'],
  interface: ['given', ...DMA_INTERFACES],
} as const satisfies { readonly [K in keyof Axes]?: readonly Axes[K][] };

/** The axes by the name that the command line and the metadata use. */
export const AXES: ReadonlyMap<string, AxisDescription> = new Map([
  ['attributes', { key: 'attributes', summary: 'most bytes per attribute call', values: 'request, 4k, 64k, 2m' }],
  ['discard', { key: 'discard', summary: 'most bytes per discard or allocate call', values: 'request, 4k, 64k, 2m' }],
  [
    'discard-shared',
    {
      key: 'discardShared',
      summary: 'shared memory of a range that becomes private',
      values: 'eager, never, lazy:LIMIT[/BATCH]',
    },
  ],
  [
    'discard-private',
    {
      key: 'discardPrivate',
      summary: 'private memory of a range that becomes shared',
      values: 'eager, never, lazy:LIMIT[/BATCH]',
    },
  ],
  [
    'allocation',
    { key: 'allocation', summary: 'how the new side gets its pages', values: WORDS.allocation.join(', ') },
  ],
  ['dma', { key: 'dma', summary: 'most bytes per DMA mapping', values: 'request, 4k, 64k, 2m' }],
  ['dma-policy', { key: 'dmaPolicy', summary: 'what is mapped for DMA', values: WORDS.dmaPolicy.join(', ') }],
  ['order', { key: 'order', summary: 'attributes or DMA first', values: WORDS.order.join(', ') }],
  ['backing', { key: 'backing', summary: 'where the two sides are', values: WORDS.backing.join(', ') }],
  ['interface', { key: 'interface', summary: 'what maps for DMA', values: WORDS.interface.join(', ') }],
]);

/**
 * The value of an axis from its text.
 * @throws CvmtraceError USAGE naming the axis and what it takes.
 */
export function parseAxis(axis: string, text: string): Partial<Axes> {
  const description = AXES.get(axis);
  if (!description) throw unknownName('strategy axis', axis, [...AXES.keys()]);
  const value = parseValue(description.key, text);
  if (value === undefined) {
    throw new CvmtraceError('USAGE', `strategy axis ${axis} cannot be '${text}'`, {
      hint: `${axis} takes one of: ${description.values}`,
    });
  }
  return { [description.key]: value };
}

/** The axes as the text that `parseAxis` takes, by axis name. */
export function formatAxes(axes: Axes): Record<string, string> {
  return Object.fromEntries([...AXES].map(([name, { key }]) => [name, formatValue(axes[key])]));
}

function parseValue(key: keyof Axes, text: string): Axes[keyof Axes] | undefined {
  switch (key) {
    case 'attributes':
    case 'discard':
    case 'dma':
      return GRANULARITIES.get(text.toLowerCase());
    case 'discardShared':
    case 'discardPrivate':
      return parseDiscard(text);
    case 'allocation':
    case 'dmaPolicy':
    case 'order':
    case 'backing':
    case 'interface':
      return WORDS[key].find((word) => word === text);
  }
}

function parseDiscard(text: string): Discard | undefined {
  if (text === 'eager' || text === 'never') return { kind: text };
  const [, limit, batch] = /^lazy:(\w+)(?:\/(\w+))?$/.exec(text) ?? [];
  const limitBytes = parseLimit(limit);
  const batchBytes = batch === undefined ? limitBytes : parseLimit(batch);
  if (limitBytes === undefined || batchBytes === undefined || batchBytes > limitBytes) return undefined;
  return { kind: 'lazy', limitBytes, batchBytes };
}

/** A limit in whole pages. */
function parseLimit(text: string | undefined): number | undefined {
  const bytes = parseSize(text ?? '');
  return bytes !== undefined && bytes > 0 && bytes % PAGE_BYTES === 0 ? bytes : undefined;
}

function formatValue(value: Axes[keyof Axes]): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number')
    return [...GRANULARITIES].find(([, bytes]) => bytes === value)?.[0] ?? formatSize(value);
  if (value.kind !== 'lazy') return value.kind;
  const batch = value.batchBytes === value.limitBytes ? '' : `/${formatSize(value.batchBytes)}`;
  return `lazy:${formatSize(value.limitBytes)}${batch}`;
}
