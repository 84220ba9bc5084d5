/** Tales of limits, of the kernel's own events, of devices, and of live updates. */
import { type Tale, ERRNO, A } from './tale.ts';
import { HIGH, PAGE, type StoryRow } from './vmm-story.ts';

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

export const DEVICE_TALES: readonly Tale[] = [
  ...entryLimit,
  ...kernelLonger,
  ...afterUnmap,
  ...vaddrWindow,
  ...afterLoss,
];
