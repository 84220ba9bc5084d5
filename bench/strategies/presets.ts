import { unknownName } from '../../capture/unknown-name.ts';
import { type Axes, formatAxes, parseAxis } from './axes.ts';

export interface Strategy {
  /** As given: a preset's name with the axes that were moved. */
  readonly name: string;
  readonly axes: Axes;
}

export interface Preset {
  readonly name: string;
  readonly summary: string;
  /** Whom it imitates, with the source. */
  readonly imitates: string;
  readonly axes: Axes;
}

const EAGER: Axes = {
  attributes: Infinity,
  discard: Infinity,
  discardShared: { kind: 'eager' },
  discardPrivate: { kind: 'eager' },
  allocation: 'fault',
  dma: 4096,
  dmaPolicy: 'map-shared',
  order: 'convert-unmap',
  backing: 'two-copies',
  interface: 'given',
};

const LAZY = { kind: 'lazy', limitBytes: 64 * 2 ** 20, batchBytes: 16 * 2 ** 20 } as const;

export const PRESETS: readonly Preset[] = [
  {
    name: 'attributes-only',
    summary: 'set attributes, discard and allocate nothing: the floor',
    imitates: 'nobody; what is left when every other step costs nothing',
    axes: { ...EAGER, discardShared: { kind: 'never' }, discardPrivate: { kind: 'never' } },
  },
  {
    name: 'upm-eager',
    summary: 'set attributes, discard the other side at once',
    imitates: 'SNP with UPM as first posted (M. Roth, 2022-06-23): 103 s of boot where SNP without UPM took 32 s',
    axes: EAGER,
  },
  {
    name: 'upm-no-shared-discard',
    summary: 'as upm-eager, but shared memory is kept when a range becomes private',
    imitates: 'the same mail: 68 s of boot',
    axes: { ...EAGER, discardShared: { kind: 'never' } },
  },
  {
    name: 'lazy-discard',
    summary: 'both sides are kept until 64M wait, then the oldest 16M are given back',
    imitates: 'the batched discard that the same mail proposes; the limits are chosen here',
    axes: { ...EAGER, discardShared: LAZY, discardPrivate: LAZY },
  },
  {
    name: 'qemu-10.1',
    summary: 'attributes, then DMA (4K maps, one unmap), then discard of the other side',
    imitates: "QEMU from 10.1 on: kvm_convert_memory, RamBlockAttributes and VFIO's listener",
    axes: EAGER,
  },
  {
    name: 'cloud-hypervisor-53',
    summary: 'attributes; private memory is discarded, shared memory kept; all memory is mapped for DMA',
    imitates: 'cloud-hypervisor v53 (hypervisor/src/kvm, sev_snp): whole regions are mapped, and stay',
    axes: { ...EAGER, discardShared: { kind: 'never' }, dmaPolicy: 'map-all', dma: Infinity },
  },
  {
    name: 'dma-2m',
    summary: 'as qemu-10.1 with mappings of 2M: what cannot be unmapped in part fails',
    imitates: 'what larger mappings would save, and what they break',
    axes: { ...EAGER, dma: 2_097_152 },
  },
  {
    name: 'dma-request',
    summary: 'as qemu-10.1 with one mapping per request',
    imitates: 'the same, as far as it goes',
    axes: { ...EAGER, dma: Infinity },
  },
  {
    name: 'in-place',
    summary: 'a range changes sides in its guest_memfd: unmapped for DMA first, nothing discarded',
    imitates: 'a VMM for the in-place conversion series (KVM_SET_MEMORY_ATTRIBUTES2, not in a release yet)',
    axes: {
      ...EAGER,
      backing: 'in-place',
      order: 'unmap-convert',
      discardShared: { kind: 'never' },
      discardPrivate: { kind: 'never' },
    },
  },
];

/**
 * Reads `NAME[,axis=value...]`.
 * @throws CvmtraceError USAGE for an unknown name, axis or value; lists the valid ones.
 */
export function parseStrategy(text: string): Strategy {
  const [name = '', ...changes] = text.split(',').map((part) => part.trim());
  const preset = PRESETS.find((candidate) => candidate.name === name);
  if (!preset)
    throw unknownName(
      'strategy',
      name,
      PRESETS.map((candidate) => candidate.name),
    );
  let axes = preset.axes;
  for (const change of changes) {
    const at = change.indexOf('=');
    axes = { ...axes, ...parseAxis(at < 0 ? change : change.slice(0, at), at < 0 ? '' : change.slice(at + 1)) };
  }
  return { name: [name, ...changes].join(','), axes };
}

/**
 * Reads a list of strategies separated by commas; an item with `=` belongs to the strategy before it, so that
 * `upm-eager,attributes=4k,lazy-discard` is two.
 */
export function parseStrategies(text: string): Strategy[] {
  const groups: string[] = [];
  for (const item of text.split(',').map((part) => part.trim())) {
    const last = groups.at(-1);
    if (item.includes('=') && last !== undefined) groups[groups.length - 1] = `${last},${item}`;
    else groups.push(item);
  }
  return groups.map(parseStrategy);
}

/** A strategy as the trace's metadata holds it. */
export function describeStrategy(strategy: Strategy): { readonly name: string; readonly axes: Record<string, string> } {
  return { name: strategy.name, axes: formatAxes(strategy.axes) };
}
