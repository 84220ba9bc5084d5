/**
 * For each kind of hazard what a VMM does wrong, and the same without the fault: written from what the kernel's interfaces promise. A tale is told on
 * a VM that is open, with a slot at 0 and one at 4G; `faulty` says whether it goes wrong.
 */
import { HIGH, PAGE, type StoryOptions, type StoryRow, type VmmStory } from './vmm-story.ts';

/** What a faulty tale is found to be. What is absent is not told. */
export interface Finding {
  readonly severity?: 'error' | 'warning' | 'note';
  readonly at?: StoryRow | undefined;
  /** Rows that must be among its proof. */
  readonly proof?: readonly (StoryRow | undefined)[];
  readonly gpa?: number;
  readonly iova?: number;
  readonly len?: number;
  readonly count?: number;
  /** Only where the trace has times. */
  readonly ageNs?: number;
}

export interface Tale {
  readonly kind: string;
  readonly title: string;
  /** Forms in which it makes sense; all if absent. */
  readonly only?: Partial<Pick<StoryOptions, 'shape' | 'api' | 'sharedFile'>> & { readonly times?: boolean };
  /** It counts what the whole trace has: nobody else may do anything. Or it is about events that name no container. */
  readonly alone?: true;
  /** Also set for the stories of it. */
  readonly with?: Partial<Pick<StoryOptions, 'sharedFile' | 'slotBytes'>>;
  readonly tell: (vmm: VmmStory, faulty: boolean) => Finding;
}

const ERRNO = { ENOENT: 2, EIO: 5, EAGAIN: 11, ENOMEM: 12, EEXIST: 17, EINVAL: 22, ENOSPC: 28 } as const;
const TWO_M = 2 ** 21;
const A = HIGH + 16 * PAGE;

/** Two pages that the guest shares, mapped page by page. */
function share(vmm: VmmStory, gpa = A, len = 2 * PAGE, vcpu = 0): StoryRow[] {
  let maps: StoryRow[] = [];
  vmm.exit(vcpu, 'shared', gpa, len, () => {
    vmm.attributes('shared', gpa, len);
    maps = vmm.mapPages(gpa, len);
    vmm.discard('private', gpa, len);
  });
  return maps;
}

/** The same as one mapping. */
function shareWhole(vmm: VmmStory, gpa: number, len: number, vcpu = 0): StoryRow {
  let map: StoryRow | undefined;
  vmm.exit(vcpu, 'shared', gpa, len, () => {
    vmm.attributes('shared', gpa, len);
    map = vmm.map(gpa, len);
    vmm.discard('private', gpa, len);
  });
  if (!map) throw new Error('the body of an exit runs at once');
  return map;
}

const staleMapping: Tale[] = [
  {
    kind: 'stale_mapping',
    title: 'the unmap of a conversion is forgotten',
    tell(vmm, faulty) {
      const maps = share(vmm);
      const at = vmm.exit(0, 'private', A, 2 * PAGE, () => {
        vmm.attributes('private', A, 2 * PAGE);
        if (!faulty) vmm.unmap(A, 2 * PAGE);
        vmm.discard('shared', A, 2 * PAGE);
      });
      return { severity: 'error', at, proof: [at, ...maps], gpa: A, len: 2 * PAGE, count: 2 };
    },
  },
  {
    kind: 'stale_mapping',
    title: 'one of two pages stays mapped',
    tell(vmm, faulty) {
      const [, second] = share(vmm);
      const at = vmm.exit(0, 'private', A, 2 * PAGE, () => {
        vmm.unmap(A, PAGE);
        if (!faulty) vmm.unmap(A + PAGE, PAGE);
        vmm.attributes('private', A, 2 * PAGE);
        vmm.discard('shared', A, 2 * PAGE);
      });
      return { severity: 'error', at, proof: [at, second], gpa: A + PAGE, len: PAGE, count: 1 };
    },
  },
  {
    kind: 'stale_mapping',
    title: 'the VMM converts by itself, and only then unmaps, but not all',
    tell(vmm, faulty) {
      // QEMU where its exits are not seen (strace): attributes first, then the unmap, in one thread. That is no fault.
      const [, second] = share(vmm);
      const at = vmm.attributes('private', A, 2 * PAGE);
      vmm.unmap(A, faulty ? PAGE : 2 * PAGE);
      return { severity: 'error', at, proof: [at, second], gpa: A + PAGE, len: PAGE };
    },
  },
  {
    kind: 'stale_mapping',
    title: 'a second container still has it',
    tell(vmm, faulty) {
      const [first, second] = [vmm.dma, vmm.dma + 1];
      vmm.dma = second;
      vmm.container();
      const maps: StoryRow[] = [];
      vmm.exit(0, 'shared', A, PAGE, () => {
        vmm.attributes('shared', A, PAGE);
        maps.push(vmm.map(A, PAGE, { obj: first }), vmm.map(A, PAGE, { obj: second }));
      });
      const at = vmm.exit(0, 'private', A, PAGE, () => {
        vmm.attributes('private', A, PAGE);
        vmm.unmap(A, PAGE, { obj: first });
        if (!faulty) vmm.unmap(A, PAGE, { obj: second });
      });
      return { severity: 'error', at, proof: [at, maps[1]], gpa: A, len: PAGE, count: 1 };
    },
  },
  {
    kind: 'stale_mapping',
    title: 'in place, without an unmap',
    tell(vmm, faulty) {
      let map: StoryRow | undefined;
      vmm.exit(0, 'shared', A, PAGE, () => {
        vmm.attributes2('shared', A, PAGE);
        map = vmm.map(A, PAGE);
      });
      const at = vmm.exit(0, 'private', A, PAGE, () => {
        if (!faulty) vmm.unmap(A, PAGE);
        vmm.attributes2('private', A, PAGE);
      });
      return { severity: 'error', at, proof: [at, map], gpa: A, len: PAGE };
    },
  },
  {
    kind: 'stale_mapping',
    title: 'in place, also a mapping of all memory that was there before',
    alone: true,
    tell(vmm, faulty) {
      const map = vmm.map(HIGH, vmm.slotBytes);
      const at = vmm.exit(0, faulty ? 'private' : 'shared', A, PAGE, () => {
        vmm.attributes2(faulty ? 'private' : 'shared', A, PAGE);
      });
      return { severity: 'error', at, proof: [at, map], gpa: A, len: PAGE };
    },
  },
];

const discarded: Tale[] = [
  {
    kind: 'discarded_while_mapped',
    title: 'a hole is punched before the unmap of the same request',
    tell(vmm, faulty) {
      const map = shareWhole(vmm, A, PAGE);
      let [at, unmap]: (StoryRow | undefined)[] = [];
      vmm.exit(0, 'private', A, PAGE, () => {
        vmm.attributes('private', A, PAGE);
        if (!faulty) vmm.unmap(A, PAGE);
        at = vmm.discard('shared', A, PAGE);
        if (faulty) unmap = vmm.unmap(A, PAGE);
      });
      return { severity: 'error', at, proof: [map, at, unmap], gpa: A, len: PAGE };
    },
  },
  {
    kind: 'discarded_while_mapped',
    title: 'anonymous memory is given back, as a balloon does, under a mapping',
    only: { sharedFile: false },
    tell(vmm, faulty) {
      const map = shareWhole(vmm, A, 4 * PAGE);
      if (!faulty) vmm.unmap(A, 4 * PAGE);
      const at = vmm.advise(A + PAGE, PAGE, 4);
      return { severity: 'error', at, proof: [map, at], gpa: A + PAGE, len: PAGE };
    },
  },
  {
    kind: 'discarded_while_mapped',
    title: 'pages of a file are removed (MADV_REMOVE) under a mapping; DONTNEED only drops page-table entries',
    only: { sharedFile: true },
    tell(vmm, faulty) {
      const map = shareWhole(vmm, A, PAGE);
      const at = vmm.advise(A, PAGE, faulty ? 9 : 4);
      return { severity: 'error', at, proof: [map, at], gpa: A, len: PAGE };
    },
  },
];

const mappedWhilePrivate: Tale[] = [
  {
    kind: 'mapped_while_private',
    title: 'private memory is mapped outside of any request',
    tell(vmm, faulty) {
      vmm.convert(0, 'shared', A, PAGE);
      vmm.convert(0, 'private', A, PAGE);
      if (!faulty) vmm.attributes('shared', A, PAGE);
      const at = vmm.map(A, PAGE);
      return { severity: 'warning', at, proof: [at], gpa: A, len: PAGE };
    },
  },
  {
    kind: 'mapped_while_private',
    title: 'a request to make it private ends with a new mapping',
    tell(vmm, faulty) {
      share(vmm, A, PAGE);
      let at: StoryRow | undefined;
      vmm.exit(0, 'private', A, PAGE, () => {
        vmm.unmap(A, PAGE);
        vmm.attributes('private', A, PAGE);
        if (faulty) at = vmm.map(A, PAGE);
      });
      return { severity: 'warning', at, proof: [at], gpa: A, len: PAGE };
    },
  },
  {
    kind: 'mapped_while_private',
    title: 'all memory is mapped once and stays so, and the shared side is kept',
    alone: true,
    tell(vmm, faulty) {
      vmm.map(0, vmm.slotBytes);
      const map = vmm.map(HIGH, vmm.slotBytes);
      for (let page = 0; page < 3; page++) {
        const to = faulty ? 'private' : 'shared';
        vmm.exit(0, to, A + page * PAGE, PAGE, () => vmm.attributes(to, A + page * PAGE, PAGE));
      }
      return { severity: 'note', proof: [map], count: 3 };
    },
  },
];

const doubleMapping: Tale[] = [
  {
    kind: 'double_mapping',
    title: 'a part of a live mapping is mapped again, and the kernel lets it',
    tell(vmm, faulty) {
      const first = vmm.map(A, 4 * PAGE);
      if (!faulty) vmm.unmap(A, 4 * PAGE);
      const at = vmm.map(A + PAGE, PAGE);
      return { severity: 'error', at, proof: [first, at], iova: A + PAGE };
    },
  },
  {
    kind: 'double_mapping',
    title: 'the kernel refuses to map what is mapped',
    tell(vmm, faulty) {
      const first = vmm.map(A, PAGE);
      if (!faulty) vmm.unmap(A, PAGE);
      const at = vmm.map(A, PAGE, faulty ? { errno: ERRNO.EEXIST } : {});
      return { severity: 'warning', at, proof: [first, at], iova: A };
    },
  },
  {
    kind: 'double_mapping',
    title: 'one page at its own address and at another',
    only: { shape: 'own' },
    tell(vmm, faulty) {
      const first = vmm.map(A, PAGE);
      const at = vmm.map(A, PAGE, { iova: A + TWO_M, gpa: faulty ? A : A + TWO_M });
      return { severity: 'warning', at, proof: [first, at] };
    },
  },
];

const unmapNoMatch: Tale[] = [
  {
    kind: 'unmap_no_match',
    title: 'unmapped twice',
    tell(vmm, faulty) {
      vmm.convert(0, 'shared', A, PAGE);
      vmm.convert(0, 'private', A, PAGE);
      const at = faulty ? vmm.unmapNothing(A, PAGE) : vmm.attributes('private', A, PAGE);
      return { severity: 'warning', at, proof: [at], iova: A };
    },
  },
  {
    kind: 'unmap_no_match',
    title: 'an address next to what is mapped; a range with holes matches',
    tell(vmm, faulty) {
      vmm.map(A, PAGE);
      vmm.map(A + 4 * PAGE, PAGE);
      const at = faulty ? vmm.unmapNothing(A + PAGE, 3 * PAGE) : vmm.unmap(A, 8 * PAGE, { result: 2 * PAGE });
      return { severity: 'warning', at, proof: [at], iova: A + PAGE };
    },
  },
  {
    kind: 'unmap_no_match',
    title: 'a log that does not say how much went',
    tell(vmm, faulty) {
      vmm.map(A, PAGE);
      const at = vmm.unmap(faulty ? A + PAGE : A, PAGE, { result: undefined });
      return { severity: 'warning', at, proof: [at], iova: A + PAGE };
    },
  },
];

const leftPiece: Tale[] = [
  {
    kind: 'unmap_left_piece',
    title: 'a page of a large mapping is unmapped',
    tell(vmm, faulty) {
      const [begin, len] = [HIGH + TWO_M, TWO_M];
      const map = shareWhole(vmm, begin, len);
      const part = faulty ? PAGE : len;
      const refusal = vmm.options.api === 'type1' ? ERRNO.EINVAL : ERRNO.ENOENT;
      let at: StoryRow | undefined;
      vmm.exit(0, 'private', begin, part, () => {
        vmm.attributes('private', begin, part);
        at = vmm.unmap(begin, part, faulty ? { errno: refusal } : {});
        vmm.discard('shared', begin, part);
      });
      return { severity: 'error', at, proof: [map, at], iova: begin };
    },
  },
  {
    kind: 'unmap_left_piece',
    title: 'and the guest is told that it failed: the failed unmap alone is the finding',
    tell(vmm, faulty) {
      const [begin, len] = [HIGH + TWO_M, TWO_M];
      const map = shareWhole(vmm, begin, len);
      const refusal = vmm.options.api === 'type1' ? ERRNO.EINVAL : ERRNO.ENOENT;
      const part = faulty ? PAGE : len;
      let at: StoryRow | undefined;
      const body = (): void => {
        vmm.attributes('private', begin, part);
        at = vmm.unmap(begin, part, faulty ? { errno: refusal } : {});
        vmm.discard('shared', begin, part);
      };
      vmm.exit(0, 'private', begin, part, body, { result: faulty ? ERRNO.EINVAL : 0 });
      return { severity: 'error', at, proof: [map, at], iova: begin };
    },
  },
  {
    kind: 'unmap_left_piece',
    title: 'iommufd unmaps what it can on its way to what does not fit',
    only: { api: 'iommufd' },
    tell(vmm, faulty) {
      shareWhole(vmm, A, PAGE);
      const left = shareWhole(vmm, A + PAGE, 4 * PAGE);
      const len = faulty ? 2 * PAGE : 5 * PAGE;
      let at: StoryRow | undefined;
      vmm.exit(0, 'private', A, len, () => {
        vmm.attributes('private', A, len);
        at = vmm.unmap(A, len, faulty ? { errno: ERRNO.ENOENT } : {});
        vmm.discard('shared', A, len);
      });
      return { severity: 'error', at, proof: [left, at] };
    },
  },
  {
    kind: 'unmap_left_piece',
    title: 'the unmap of a page fails, and the whole is unmapped and the rest mapped again',
    tell(vmm, faulty) {
      const [begin, len] = [HIGH + TWO_M, TWO_M];
      const map = shareWhole(vmm, begin, len);
      const refusal = vmm.options.api === 'type1' ? ERRNO.EINVAL : ERRNO.ENOENT;
      let at: StoryRow | undefined;
      vmm.exit(0, 'private', begin, PAGE, () => {
        if (faulty) at = vmm.unmap(begin, PAGE, { errno: refusal });
        vmm.unmap(begin, len);
        vmm.attributes('private', begin, PAGE);
        vmm.map(begin + PAGE, len - PAGE);
        vmm.discard('shared', begin, PAGE);
      });
      return { severity: 'warning', at, proof: [map, at] };
    },
  },
];

const conversionFailed: Tale[] = [
  {
    kind: 'conversion_failed',
    title: 'the guest is told of success, the attribute call failed',
    tell(vmm, faulty) {
      const at = vmm.exit(0, 'private', A, PAGE, () => vmm.attributes('private', A, PAGE, { errno: ERRNO.ENOMEM }), {
        result: faulty ? 0 : ERRNO.EINVAL,
      });
      return { severity: 'error', at, proof: [at] };
    },
  },
  {
    kind: 'conversion_failed',
    title: 'unmapped first, then the conversion fails, and nobody maps it again',
    tell(vmm, faulty) {
      share(vmm);
      const at = vmm.exit(
        0,
        'private',
        A,
        2 * PAGE,
        () => {
          vmm.unmap(A, 2 * PAGE);
          vmm.attributes('private', A, 2 * PAGE, { errno: ERRNO.ENOMEM });
          if (!faulty) vmm.mapPages(A, 2 * PAGE);
        },
        { result: ERRNO.EINVAL },
      );
      return { severity: 'error', at, proof: [at], gpa: A, len: 2 * PAGE };
    },
  },
  {
    kind: 'conversion_failed',
    title: 'a page is held, the guest is told to come again, and does so',
    tell(vmm, faulty) {
      vmm.exit(0, 'shared', A, PAGE, () => {
        vmm.attributes2('shared', A, PAGE);
        vmm.map(A, PAGE);
      });
      const at = vmm.exit(
        0,
        'private',
        A,
        PAGE,
        () => {
          vmm.unmap(A, PAGE);
          vmm.attributes2('private', A, PAGE, { errno: ERRNO.EAGAIN, result: vmm.offsetOf(A) });
        },
        { result: ERRNO.EAGAIN },
      );
      if (!faulty) vmm.exit(0, 'private', A, PAGE, () => vmm.attributes2('private', A, PAGE));
      return { severity: 'error', at, proof: [at], gpa: A, len: PAGE };
    },
  },
  {
    kind: 'conversion_failed',
    title: 'it comes again for one page of two',
    tell(vmm, faulty) {
      share(vmm);
      const told = { result: ERRNO.EAGAIN };
      const fails = (): void => {
        vmm.unmap(A, 2 * PAGE);
        vmm.attributes('private', A, 2 * PAGE, { errno: ERRNO.EAGAIN });
      };
      const at = vmm.exit(0, 'private', A, 2 * PAGE, fails, told);
      const len = faulty ? PAGE : 2 * PAGE;
      vmm.exit(0, 'private', A, len, () => vmm.attributes('private', A, len));
      return { severity: 'error', at, proof: [at] };
    },
  },
  {
    kind: 'conversion_failed',
    title: 'given back, and then not converted',
    tell(vmm, faulty) {
      vmm.exit(0, 'shared', A, PAGE, () => vmm.attributes('shared', A, PAGE));
      const at = vmm.exit(
        0,
        'private',
        A,
        PAGE,
        () => {
          if (faulty) vmm.discard('shared', A, PAGE);
          vmm.attributes('private', A, PAGE, { errno: ERRNO.ENOMEM });
        },
        { result: ERRNO.EINVAL },
      );
      return { severity: 'error', at, proof: [at], gpa: A, len: PAGE };
    },
  },
  {
    kind: 'conversion_failed',
    title: 'the second of two pieces fails, the first stays converted',
    tell(vmm, faulty) {
      vmm.exit(0, 'shared', A, 2 * PAGE, () => vmm.attributes('shared', A, 2 * PAGE));
      const at = vmm.exit(
        0,
        'private',
        A,
        2 * PAGE,
        () => {
          vmm.attributes('private', A, PAGE);
          vmm.attributes('private', A + PAGE, PAGE, { errno: ERRNO.ENOMEM });
          if (!faulty) vmm.attributes('shared', A, PAGE);
        },
        { result: ERRNO.EINVAL },
      );
      return { severity: 'error', at, proof: [at], gpa: A };
    },
  },
  {
    kind: 'conversion_failed',
    title: 'what became shared cannot be mapped, and stays shared',
    tell(vmm, faulty) {
      vmm.convert(0, 'shared', A, 2 * PAGE);
      vmm.convert(0, 'private', A, 2 * PAGE);
      const at = vmm.exit(
        0,
        'shared',
        A,
        2 * PAGE,
        () => {
          vmm.attributes('shared', A, 2 * PAGE);
          vmm.map(A, PAGE);
          vmm.map(A + PAGE, PAGE, { errno: ERRNO.ENOMEM });
          if (!faulty) {
            vmm.unmap(A, PAGE);
            vmm.attributes('private', A, 2 * PAGE);
          }
        },
        { result: ERRNO.EINVAL },
      );
      return { severity: 'error', at, proof: [at] };
    },
  },
];

const discardFailed: Tale[] = (['shared', 'private'] as const).map((side) => ({
  kind: 'discard_failed',
  title: `the ${side} side cannot be given back`,
  tell(vmm: VmmStory, faulty: boolean): Finding {
    vmm.convert(0, 'shared', A, PAGE);
    if (side === 'private') vmm.convert(0, 'private', A, PAGE);
    const to = side === 'shared' ? 'private' : 'shared';
    let at: StoryRow | undefined;
    vmm.exit(0, to, A, PAGE, () => {
      vmm.attributes(to, A, PAGE);
      if (to === 'private') vmm.unmap(A, PAGE);
      else vmm.map(A, PAGE);
      at = vmm.discard(side, A, PAGE, faulty ? { errno: ERRNO.EIO } : {});
    });
    return { severity: 'error', at, proof: [at] };
  },
}));

const doublyHeld: Tale[] = [
  {
    kind: 'doubly_held',
    alone: true,
    title: 'both sides of half the memory are allocated, outside of requests',
    with: { slotBytes: 2 ** 27 },
    tell(vmm, faulty) {
      vmm.allocate('private', 0, vmm.slotBytes);
      vmm.allocate('shared', 0, faulty ? vmm.slotBytes : vmm.slotBytes / 4);
      return { severity: 'warning', len: vmm.slotBytes };
    },
  },
  {
    kind: 'doubly_held',
    alone: true,
    title: 'conversions that give nothing back',
    with: { slotBytes: 2 ** 27 },
    tell(vmm, faulty) {
      const piece = 2 ** 25;
      for (let gpa = HIGH; gpa < HIGH + 2 ** 27; gpa += piece) {
        vmm.allocate('private', gpa, piece);
        vmm.exit(0, 'shared', gpa, piece, () => {
          vmm.attributes('shared', gpa, piece);
          vmm.allocate('shared', gpa, piece);
          if (!faulty) vmm.discard('private', gpa, piece);
        });
      }
      return { severity: 'warning', len: 2 ** 27 };
    },
  },
];

const entryLimit: Tale[] = [
  {
    kind: 'dma_entry_limit',
    alone: true,
    title: '90 % of what the container may have',
    only: { api: 'type1' },
    tell(vmm, faulty) {
      vmm.call({ op: 'vfio_iommu_get_info', obj: vmm.dma, result: 40 });
      const maps = vmm.mapPages(A, (faulty ? 36 : 35) * PAGE);
      return { severity: 'warning', at: maps[35] };
    },
  },
  {
    kind: 'dma_entry_limit',
    alone: true,
    title: 'what is left, asked for when some are mapped',
    only: { api: 'type1' },
    tell(vmm, faulty) {
      vmm.mapPages(A, 30 * PAGE);
      vmm.call({ op: 'vfio_iommu_get_info', obj: vmm.dma, result: 10 });
      const maps = vmm.mapPages(A + 30 * PAGE, (faulty ? 6 : 5) * PAGE);
      return { severity: 'warning', at: maps[5] };
    },
  },
  {
    kind: 'dma_entry_limit',
    alone: true,
    title: 'a map finds no entry left',
    only: { api: 'type1' },
    tell(vmm, faulty) {
      vmm.mapPages(A, 8 * PAGE);
      const at = vmm.exit(0, 'shared', HIGH, PAGE, () => {
        vmm.attributes('shared', HIGH, PAGE);
        vmm.map(HIGH, PAGE, faulty ? { errno: ERRNO.ENOSPC } : {});
      });
      return { severity: 'error', proof: [vmm.rows[vmm.rows.indexOf(at) + 2]] };
    },
  },
];

const implicit: Tale[] = [
  {
    kind: 'implicit_conversion',
    title: 'the guest uses memory on a side for which it never asked',
    tell(vmm, faulty) {
      // A hypercall that the VMM does nothing about but say yes: the fault that follows is what the guest asked for.
      if (!faulty) vmm.exit(0, 'private', A, 2 * PAGE);
      const at = vmm.fault(0, 'private', A + PAGE, PAGE, () => vmm.attributes('private', A + PAGE, PAGE));
      return { severity: 'warning', at, proof: [at], gpa: A + PAGE, len: PAGE };
    },
  },
  {
    kind: 'implicit_conversion',
    title: 'it asked for a part of it',
    tell(vmm, faulty) {
      vmm.exit(0, 'private', A, (faulty ? 1 : 4) * PAGE);
      const at = vmm.fault(0, 'private', A, 4 * PAGE, () => vmm.attributes('private', A, 4 * PAGE));
      return { severity: 'warning', at, proof: [at], gpa: A, len: 4 * PAGE };
    },
  },
  {
    kind: 'implicit_conversion',
    title: 'what it asked for was before it was on the other side',
    tell(vmm, faulty) {
      vmm.convert(0, 'shared', A, PAGE);
      vmm.convert(0, 'private', A, PAGE);
      if (!faulty) vmm.exit(0, 'shared', A, PAGE);
      const at = vmm.fault(0, 'shared', A, PAGE, () => {
        vmm.attributes('shared', A, PAGE);
        vmm.map(A, PAGE);
      });
      return { severity: 'warning', at, proof: [at], gpa: A, len: PAGE };
    },
  },
];

/** Conversions of one page, from side to side, `spacingNs` apart; the first finds it private. */
function flip(vmm: VmmStory, times: number, spacingNs: number): void {
  vmm.attributes('private', A, PAGE);
  for (let i = 0; i < times; i++) {
    const to = i % 2 === 0 ? 'shared' : 'private';
    const { nowNs } = vmm;
    vmm.exit(0, to, A, PAGE, () => vmm.attributes(to, A, PAGE));
    vmm.nowNs = nowNs + spacingNs;
  }
}

const flipStorm: Tale[] = [
  {
    kind: 'flip_storm',
    title: '128 times from side to side; 127 are none',
    tell(vmm, faulty) {
      flip(vmm, faulty ? 128 : 127, 1e6);
      return { severity: 'warning', gpa: A, len: PAGE, count: 128 };
    },
  },
  {
    kind: 'flip_storm',
    title: '128 times within a second; in more than that it is none',
    only: { times: true },
    tell(vmm, faulty) {
      flip(vmm, 128, faulty ? 7e6 : 8e6);
      return { severity: 'warning', gpa: A, len: PAGE, count: 128 };
    },
  },
];

flipStorm.push({
  kind: 'flip_storm',
  title: 'a busy page, converted together with a calmer one now and then',
  tell(vmm, faulty) {
    const [busy, calm] = [A, A + PAGE];
    const to = (side: 'private' | 'shared', gpa: number, len = PAGE): void => {
      vmm.exit(0, side, gpa, len, () => vmm.attributes(side, gpa, len));
    };
    vmm.attributes('private', A, 2 * PAGE);
    // Four flips of the one, two of the other.
    for (let round = 0; round < (faulty ? 32 : 31); round++) {
      to('shared', busy);
      to('private', busy);
      to('shared', busy);
      to('shared', calm);
      to('private', busy, 2 * PAGE);
    }
    return { severity: 'warning', gpa: busy, count: 128 };
  },
});

const kernelLonger: Tale[] = [
  {
    kind: 'kernel_mapped_longer',
    title: "the IOMMU's unmap comes after the VMM's call is over",
    tell(vmm, faulty) {
      vmm.around(
        () => vmm.map(A, 2 * PAGE),
        () => vmm.kernel({ op: 'iommu_map', iova: A, len: 2 * PAGE }),
      );
      const unmapped = (): StoryRow => vmm.kernel({ op: 'iommu_unmap', iova: A, len: 2 * PAGE, result: 2 * PAGE });
      const unmap = vmm.around(
        () => vmm.unmap(A, 2 * PAGE),
        () => (faulty ? undefined : unmapped()),
      );
      // A call of the thread in between, so that the order says without times that the unmap is over.
      vmm.attributes('shared', 0, PAGE);
      vmm.nowNs += 5000;
      const late = faulty ? unmapped() : undefined;
      const end = Number(unmap.ts_ns) + Number(unmap.dur_ns);
      return { severity: 'warning', ...(late && { ageNs: Number(late.ts_ns) - end, proof: [unmap, late] }) };
    },
  },
  {
    kind: 'kernel_mapped_longer',
    title: 'the IOMMU never unmaps it',
    alone: true,
    tell(vmm, faulty) {
      for (const gpa of [A, A + PAGE]) {
        vmm.around(
          () => vmm.map(gpa, PAGE),
          () => vmm.kernel({ op: 'iommu_map', iova: gpa, len: PAGE }),
        );
      }
      vmm.around(
        () => vmm.unmap(A, PAGE),
        () => vmm.kernel({ op: 'iommu_unmap', iova: A, len: PAGE, result: PAGE }),
      );
      const last = vmm.around(
        () => vmm.unmap(A + PAGE, PAGE),
        () => (faulty ? undefined : vmm.kernel({ op: 'iommu_unmap', iova: A + PAGE, len: PAGE, result: PAGE })),
      );
      return { severity: 'warning', proof: [last] };
    },
  },
];

kernelLonger.push({
  kind: 'kernel_mapped_longer',
  title: 'two threads map at once, and events name only the thread',
  tell(vmm, faulty) {
    const [pid, other] = [vmm.tid, vmm.tid + 7];
    const mine = vmm.map(A, PAGE);
    vmm.nowNs = Number(mine.ts_ns) + 10;
    const theirs = vmm.map(0, PAGE, {});
    Object.assign(theirs, { tid: other });
    vmm.nowNs = Number(mine.ts_ns) + 30;
    vmm.kernel({ op: 'iommu_map', iova: A, len: PAGE }, pid);
    vmm.kernel({ op: 'iommu_map', iova: 0, len: PAGE }, other);
    vmm.nowNs = Number(mine.ts_ns) + 200;
    const unmap = vmm.around(
      () => vmm.unmap(A, PAGE),
      () => (faulty ? undefined : vmm.kernel({ op: 'iommu_unmap', iova: A, len: PAGE, result: PAGE })),
    );
    vmm.attributes('shared', 0, PAGE);
    const late = vmm.kernel({ op: 'iommu_unmap', iova: faulty ? A : 0x7000_0000, len: PAGE, result: PAGE });
    return { severity: 'warning', proof: faulty ? [unmap, late] : [] };
  },
});

const afterUnmap: Tale[] = [
  {
    kind: 'access_after_unmap',
    title: 'a device goes on with what was unmapped; an address that never was mapped is something else',
    alone: true,
    tell(vmm, faulty) {
      vmm.map(A, PAGE);
      const unmap = vmm.unmap(A, PAGE);
      vmm.nowNs += 777;
      const iova = faulty ? A + 0x40 : A + PAGE;
      const at = vmm.kernel({ op: 'iommu_fault', iova, flags: 0x50, detail: '0000:03:00.0' }, 0);
      const ageNs = Number(at.ts_ns) - Number(unmap.ts_ns) - Number(unmap.dur_ns);
      return { severity: 'error', at, proof: [at, unmap], iova, ageNs };
    },
  },
  {
    kind: 'access_after_unmap',
    title: 'a fault at what is mapped again is about rights',
    alone: true,
    tell(vmm, faulty) {
      vmm.map(A, PAGE);
      vmm.unmap(A, PAGE);
      vmm.map(faulty ? A + PAGE : A, PAGE);
      const at = vmm.kernel({ op: 'iommu_fault', iova: A }, 0);
      return { severity: 'error', at, proof: [at], iova: A };
    },
  },
];

const vaddr = (title: string, tell: Tale['tell']): Tale => ({
  kind: 'vaddr_window',
  title,
  only: { api: 'type1' },
  tell,
});

const vaddrWindow: Tale[] = [
  vaddr('the new address of one of two mappings never comes', (vmm, faulty) => {
    vmm.map(A, PAGE);
    vmm.map(A + PAGE, PAGE);
    vmm.unmapVaddr(A, PAGE);
    const open = vmm.unmapVaddr(A + PAGE, PAGE);
    vmm.mapVaddr(A, PAGE);
    if (!faulty) vmm.mapVaddr(A + PAGE, PAGE);
    return { severity: 'warning', proof: [open], iova: A + PAGE };
  }),
  vaddr('the new address comes for another range', (vmm, faulty) => {
    vmm.map(A, 2 * PAGE);
    const open = vmm.unmapVaddr(A, 2 * PAGE);
    vmm.mapVaddr(A, faulty ? PAGE : 2 * PAGE, faulty ? { errno: ERRNO.EINVAL, result: undefined } : {});
    return { severity: 'warning', proof: [open], iova: A };
  }),
  vaddr('unmapped between the old address and the new', (vmm, faulty) => {
    vmm.map(A, PAGE);
    const open = vmm.unmapVaddr(A, PAGE);
    if (faulty) {
      vmm.unmap(A, PAGE);
      vmm.map(A, PAGE);
    } else vmm.mapVaddr(A, PAGE);
    return { severity: 'warning', proof: [open], iova: A };
  }),
  vaddr('a device faults in between', (vmm, faulty) => {
    vmm.map(A, PAGE);
    const open = vmm.unmapVaddr(A, PAGE);
    if (faulty) vmm.kernel({ op: 'iommu_fault', iova: A }, 0);
    vmm.mapVaddr(A, PAGE);
    return { severity: 'warning', proof: [open], iova: A };
  }),
  vaddr('the container is closed in between', (vmm, faulty) => {
    vmm.map(A, PAGE);
    const open = vmm.unmapVaddr(A, PAGE);
    if (!faulty) vmm.mapVaddr(A, PAGE);
    vmm.close(vmm.dma);
    return { severity: 'warning', proof: [open], iova: A };
  }),
];

/** After lost rows: what is missing may explain it. */
const afterLoss: Tale[] = [
  {
    kind: 'double_mapping',
    title: 'after lost rows it is a note',
    tell(vmm, faulty) {
      vmm.map(A, PAGE);
      vmm.kernel({ op: 'lost', len: 3 });
      const at = faulty ? vmm.map(A, PAGE) : vmm.map(A + PAGE, PAGE);
      return { severity: 'note', at, proof: [at] };
    },
  },
  {
    kind: 'unmap_no_match',
    title: 'after lost rows it is a note',
    tell(vmm, faulty) {
      vmm.map(A, PAGE);
      vmm.kernel({ op: 'lost', len: 3 });
      const at = faulty ? vmm.unmapNothing(A + PAGE, PAGE) : vmm.unmap(A, PAGE);
      return { severity: 'note', at, proof: [at] };
    },
  },
  {
    kind: 'kernel_mapped_longer',
    title: 'after lost rows it is a note',
    only: { times: true },
    tell(vmm, faulty) {
      const pair = (gpa: number, isLast: boolean): void => {
        vmm.around(
          () => vmm.map(gpa, PAGE),
          () => vmm.kernel({ op: 'iommu_map', iova: gpa, len: PAGE }),
        );
        if (isLast) vmm.kernel({ op: 'lost', len: 3 });
        vmm.around(
          () => vmm.unmap(gpa, PAGE),
          () => (isLast && faulty ? undefined : vmm.kernel({ op: 'iommu_unmap', iova: gpa, len: PAGE, result: PAGE })),
        );
      };
      pair(A + PAGE, false);
      pair(A, true);
      return { severity: 'note', iova: A };
    },
  },
];

export const TALES: readonly Tale[] = [
  ...staleMapping,
  ...discarded,
  ...mappedWhilePrivate,
  ...doubleMapping,
  ...unmapNoMatch,
  ...leftPiece,
  ...conversionFailed,
  ...discardFailed,
  ...doublyHeld,
  ...entryLimit,
  ...implicit,
  ...flipStorm,
  ...kernelLonger,
  ...afterUnmap,
  ...vaddrWindow,
  ...afterLoss,
];
