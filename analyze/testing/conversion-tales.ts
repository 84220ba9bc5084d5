/** Tales of requests that fail, of memory held twice, and of how guests ask. */
import { type Finding, type Tale, ERRNO, A, share } from './tale.ts';
import { HIGH, PAGE, type StoryRow, type VmmStory } from './vmm-story.ts';

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

export const CONVERSION_TALES: readonly Tale[] = [
  ...conversionFailed,
  ...discardFailed,
  ...doublyHeld,
  ...implicit,
  ...flipStorm,
];
