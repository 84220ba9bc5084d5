/** Tales of what is mapped where: mappings that should be gone, or are not there. */
import { type Tale, ERRNO, TWO_M, A, share, shareWhole } from './tale.ts';
import { HIGH, PAGE, type StoryRow } from './vmm-story.ts';

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

export const MAPPING_TALES: readonly Tale[] = [
  ...staleMapping,
  ...discarded,
  ...mappedWhilePrivate,
  ...doubleMapping,
  ...unmapNoMatch,
  ...leftPiece,
];
