/** What looks odd, or fails, or comes out of a log that does not say all, and is no hazard. */
import { HIGH, PAGE, type StoryRow, type VmmStory } from './vmm-story.ts';
import type { Tale } from './tale.ts';

export interface InnocentTale extends Pick<Tale, 'title' | 'only'> {
  /** The VM and its container were there before the trace. */
  readonly attached?: true;
  readonly tell: (vmm: VmmStory) => void;
}

const A = HIGH + 16 * PAGE;
const TWO_M = 2 ** 21;
const EAGAIN = 11;
const EINVAL = 22;

/** Made private without an unmap: right only if nothing of it is mapped any more. */
function makePrivate(vmm: VmmStory, gpa: number, len: number): void {
  vmm.exit(0, 'private', gpa, len, () => {
    vmm.attributes('private', gpa, len);
    vmm.discard('shared', gpa, len);
  });
}

export const INNOCENT_TALES: readonly InnocentTale[] = [
  {
    title: 'UNMAP ALL instead of one unmap each',
    tell(vmm) {
      vmm.convert(0, 'shared', A, 4 * PAGE);
      vmm.convert(0, 'shared', 0, 2 * PAGE);
      vmm.unmapAll(6 * PAGE);
      makePrivate(vmm, A, 4 * PAGE);
      makePrivate(vmm, 0, 2 * PAGE);
      vmm.convert(0, 'shared', A, 4 * PAGE);
    },
  },
  {
    title: 'a container is closed with its mappings, and the next one maps the same',
    tell(vmm) {
      vmm.convert(0, 'shared', A, 2 * PAGE);
      vmm.close(vmm.dma);
      makePrivate(vmm, A, 2 * PAGE);
      vmm.dma += 1;
      vmm.container();
      vmm.convert(0, 'shared', A, 2 * PAGE);
      vmm.convert(0, 'private', A, 2 * PAGE);
    },
  },
  {
    title: 'in place, a page is held, unmapped, and converted in the same request',
    tell(vmm) {
      vmm.exit(0, 'shared', A, PAGE, () => {
        vmm.attributes2('shared', A, PAGE);
        vmm.map(A, PAGE);
      });
      vmm.exit(0, 'private', A, PAGE, () => {
        vmm.attributes2('private', A, PAGE, { errno: EAGAIN, result: vmm.offsetOf(A) });
        vmm.unmap(A, PAGE);
        vmm.attributes2('private', A, PAGE);
      });
    },
  },
  {
    title: 'a request for a hole in memory is answered with yes',
    tell(vmm) {
      vmm.convert(0, 'shared', A, PAGE);
      vmm.exit(0, 'shared', 0xfee0_0000, 0x10_0000);
      vmm.convert(0, 'private', A, PAGE);
    },
  },
  {
    title: 'a refused request that changed nothing',
    tell(vmm) {
      vmm.convert(0, 'shared', A, PAGE);
      vmm.exit(0, 'private', A, PAGE, () => vmm.attributes('private', A, PAGE, { errno: 12 }), { result: EINVAL });
      vmm.convert(0, 'private', A, PAGE);
    },
  },
  {
    title: 'the compatibility mode cuts a mapping where it is told to',
    only: { api: 'type1' },
    tell(vmm) {
      const begin = HIGH + TWO_M;
      vmm.exit(0, 'shared', begin, TWO_M, () => {
        vmm.attributes('shared', begin, TWO_M);
        vmm.map(begin, TWO_M);
      });
      vmm.convert(0, 'private', begin + 5 * PAGE, PAGE);
      vmm.convert(0, 'shared', begin + 5 * PAGE, PAGE);
      vmm.convert(0, 'private', begin, 8 * PAGE);
    },
  },
  {
    title: 'live update: all addresses given up at once, each given anew',
    only: { api: 'type1' },
    tell(vmm) {
      vmm.convert(0, 'shared', A, 3 * PAGE);
      vmm.call({ op: 'vfio_unmap_dma', obj: vmm.dma, iova: 0, len: 0, flags: 6, result: 3 * PAGE });
      for (const page of [2, 0, 1]) vmm.mapVaddr(A + page * PAGE, PAGE);
      vmm.convert(0, 'private', A, 3 * PAGE);
    },
  },
  {
    title: 'one large request comes as a train of 2M, as TDX has it',
    tell(vmm) {
      for (let gpa = HIGH; gpa < HIGH + 3 * TWO_M; gpa += TWO_M) {
        vmm.exit(0, 'shared', gpa, TWO_M, () => {
          vmm.attributes('shared', gpa, TWO_M);
          vmm.map(gpa, TWO_M);
          vmm.discard('private', gpa, TWO_M);
        });
      }
      vmm.exit(0, 'private', HIGH, 3 * TWO_M, () => {
        vmm.attributes('private', HIGH, 3 * TWO_M);
        vmm.unmap(HIGH, 3 * TWO_M);
        vmm.discard('shared', HIGH, 3 * TWO_M);
      });
    },
  },
  {
    title: 'given back late, or not at all because it was shared again before',
    tell(vmm) {
      for (const gpa of [A, A + PAGE]) vmm.convert(0, 'shared', gpa, PAGE);
      for (const gpa of [A, A + PAGE]) {
        vmm.exit(0, 'private', gpa, PAGE, () => {
          vmm.unmap(gpa, PAGE);
          vmm.attributes('private', gpa, PAGE);
        });
      }
      vmm.convert(0, 'shared', A, PAGE);
      vmm.discard('shared', A + PAGE, PAGE);
    },
  },
  {
    title: 'an allocation fails, and goes well at once after it',
    tell(vmm) {
      vmm.exit(0, 'private', A, PAGE, () => {
        vmm.attributes('private', A, PAGE);
        vmm.allocate('private', A, PAGE).errno = 4;
        vmm.allocate('private', A, PAGE);
      });
    },
  },
  {
    title: 'two vCPUs use the same page at once, after one had asked',
    tell(vmm) {
      vmm.exit(0, 'private', A, PAGE);
      vmm.fault(0, 'private', A, PAGE, () => vmm.attributes('private', A, PAGE));
      vmm.fault(1, 'private', A, PAGE, () => vmm.attributes('private', A, PAGE));
    },
  },
  {
    title: 'what was mapped before the trace began is unmapped, and refused when mapped again',
    attached: true,
    tell(vmm) {
      vmm.map(A, PAGE);
      vmm.unmap(A + PAGE, PAGE);
      vmm.map(A + 2 * PAGE, PAGE, { errno: 17 });
      vmm.unmap(A, PAGE);
    },
  },
  {
    title: "a listener of QEMU's that is told of all memory: what it maps of it is another's business",
    only: { shape: 'recorded' },
    tell(vmm) {
      vmm.call({ op: 'vfio_listener_region_add', hva: vmm.hvaOf(HIGH), iova: HIGH, len: vmm.slotBytes });
      vmm.convert(0, 'shared', A, PAGE);
      vmm.convert(0, 'private', A, PAGE);
      vmm.call({ op: 'vfio_listener_region_del', iova: HIGH, len: vmm.slotBytes });
    },
  },
  {
    title: 'memory that is no guest memory is mapped, advised and unmapped',
    only: { shape: 'recorded' },
    tell(vmm) {
      const hva = 0x7a00_0000_0000;
      vmm.call({ op: 'vfio_map_dma', obj: vmm.dma, hva, iova: 0xfe00_0000, len: PAGE, flags: 3, result: 0 });
      vmm.call({ op: 'ram_madvise', hva, len: PAGE, flags: 4, result: 0 });
      vmm.call({ op: 'vfio_unmap_dma', obj: vmm.dma, iova: 0xfe00_0000, len: PAGE, flags: 0, result: PAGE });
    },
  },
  {
    title: 'a slot goes and comes in pieces, and the mapping of its memory with it',
    only: { shape: 'recorded' },
    tell(vmm) {
      const whole = vmm.slotBytes;
      vmm.map(HIGH, whole);
      vmm.slot(1, HIGH, 0);
      vmm.unmap(HIGH, whole);
      for (const [number, from, to] of [
        [1, 0, TWO_M],
        [5, TWO_M, whole],
      ] as const) {
        vmm.map(HIGH + from, to - from);
        vmm.slot(number, HIGH + from, to - from);
      }
      vmm.slot(5, HIGH + TWO_M, 0);
      vmm.unmap(HIGH + TWO_M, whole - TWO_M);
    },
  },
  {
    title: 'the kernel unmaps in pieces inside the call, and a driver of the host maps what it likes',
    tell(vmm) {
      vmm.around(
        () => vmm.map(A, 4 * PAGE),
        () => {
          for (const page of [0, 1]) vmm.kernel({ op: 'iommu_map', iova: A + 2 * page * PAGE, len: 2 * PAGE });
        },
      );
      vmm.kernel({ op: 'iommu_map', iova: 0xffff_0000, len: PAGE }, 4);
      vmm.around(
        () => vmm.unmap(A, 4 * PAGE),
        () => {
          for (const page of [0, 1, 2, 3])
            vmm.kernel({ op: 'iommu_unmap', iova: A + page * PAGE, len: PAGE, result: PAGE });
        },
      );
      vmm.nowNs += 5000;
      vmm.kernel({ op: 'iommu_unmap', iova: 0xffff_0000, len: PAGE, result: PAGE }, 4);
    },
  },
  {
    title:
      'a stand-in without guest_memfd: the private side is a file too, and is punched while the shared side is mapped',
    only: { shape: 'own' },
    attached: true,
    tell(vmm) {
      const side = 40;
      const create = { hva: 0x7e00_0000_0000, len: 2 * vmm.slotBytes, flags: 1, result: 0 };
      vmm.call({ op: 'ram_create', obj: vmm.ram, ...create, detail: 'shared' });
      vmm.call({ op: 'ram_create', obj: side, ...create, detail: 'private' });
      vmm.container();
      const punch = (obj: number): StoryRow =>
        vmm.call({ op: 'ram_punch_hole', obj, gpa: A, offset: vmm.offsetOf(A), len: PAGE, result: 0 });
      vmm.exit(0, 'shared', A, PAGE, () => {
        vmm.map(A, PAGE);
        punch(side);
      });
      vmm.exit(0, 'private', A, PAGE, () => {
        vmm.unmap(A, PAGE);
        punch(vmm.ram);
      });
    },
  },
];
