/** What a message of the kernel's says of an IOMMU, or of a guest's memory. Numbers are hexadecimal digits without 0x. */
export type Message =
  | { readonly kind: 'map' | 'unmap' | 'unmapped'; readonly iova: string; readonly size: string }
  /** Refused because of its alignment. */
  | { readonly kind: 'unaligned'; readonly op: 'map' | 'unmap'; readonly iova: string; readonly size: string }
  | { readonly kind: 'fault'; readonly iova: string; readonly device: string; readonly flags: string | undefined }
  | { readonly kind: 'mark'; readonly text: string }
  /** A step of what another message says. */
  | { readonly kind: 'step' };

const HEX = '(?:0x)?([0-9a-f]{1,16})';
const pattern = (text: string): RegExp => new RegExp(text.replaceAll('HEX', HEX), 'i');

/** drivers/iommu/iommu.c with dynamic debug on (`file iommu.c +p`). */
const MAP = pattern('(?:^|[: ])map: iova HEX pa HEX size HEX$');
const MAPPING = pattern('(?:^|[: ])mapping: iova HEX pa HEX ');
const UNMAP_THIS = pattern('(?:^|[: ])unmap this: iova HEX size HEX$');
const UNMAPPED = pattern('(?:^|[: ])unmapped: iova HEX size HEX$');
const UNALIGNED = pattern('(?:^|[: ])unaligned: iova HEX (pa HEX )?size HEX min_pagesz HEX$');

/** drivers/iommu/intel/dmar.c, with and without a PASID, 0x and "NO_PASID" of newer kernels. */
const DMAR = pattern(
  'DMAR: ?\\[DMA (?:Read|Write)[^\\]]*\\] Request device \\[([0-9a-f:.]+)\\](?: PASID \\w+)? fault addr HEX(?: |$)',
);
/** drivers/iommu/amd/iommu.c: the device is before "AMD-Vi", or in the brackets. */
const AMD = pattern(
  '(?:^|(\\S+): )AMD-Vi: Event logged \\[IO_PAGE_FAULT (?:device=([0-9a-f:.]+) )?domain=HEX address=HEX flags=HEX\\]',
);
/** drivers/iommu/arm/arm-smmu, and arm-smmu-v3 of newer kernels, which says the client. */
const SMMU = pattern('(?:^| )(\\S+): Unhandled context fault: fsr=HEX, iova=HEX,');
const SMMU_V3 = pattern('event: F_\\w+ client: (\\S+) .*\\biova: HEX(?: |$)');

/** What is said once, and of which the phases of a boot can be told: arch/x86/mm/mem_encrypt.c, kernel/dma/swiotlb.c, drivers/vfio/vfio_iommu_type1.c. */
const MARKS = [
  /Memory Encryption Features active: .+$/,
  /software IO TLB: (?:mapped|area num|SWIOTLB bounce buffer size).*$/,
  /RLIMIT_MEMLOCK \(-?\d+\) exceeded.*$/,
];

/** Where any of it can be; other lines need no closer look. */
const OF_INTEREST = /iova|fault addr|IO_PAGE_FAULT|Memory Encryption|IO TLB|RLIMIT_MEMLOCK/;

/** undefined: nothing of interest. */
export function readMessage(text: string): Message | undefined {
  if (!OF_INTEREST.test(text)) return undefined;
  return readDebugPrint(text) ?? readFault(text) ?? readMark(text);
}

function readDebugPrint(text: string): Message | undefined {
  const map = MAP.exec(text);
  if (map) return { kind: 'map', iova: map[1] ?? '', size: map[3] ?? '' };
  const unmap = UNMAP_THIS.exec(text);
  if (unmap) return { kind: 'unmap', iova: unmap[1] ?? '', size: unmap[2] ?? '' };
  const unmapped = UNMAPPED.exec(text);
  if (unmapped) return { kind: 'unmapped', iova: unmapped[1] ?? '', size: unmapped[2] ?? '' };
  const unaligned = UNALIGNED.exec(text);
  if (unaligned) {
    const op = unaligned[2] === undefined ? 'unmap' : 'map';
    return { kind: 'unaligned', op, iova: unaligned[1] ?? '', size: unaligned[4] ?? '' };
  }
  return MAPPING.test(text) ? { kind: 'step' } : undefined;
}

function readFault(text: string): Message | undefined {
  const amd = AMD.exec(text);
  if (amd) {
    return { kind: 'fault', iova: amd[4] ?? '', device: nameOf(amd[2] ?? amd[1] ?? ''), flags: amd[5] };
  }
  for (const format of [DMAR, SMMU_V3]) {
    const match = format.exec(text);
    if (match) return { kind: 'fault', iova: match[2] ?? '', device: match[1] ?? '', flags: undefined };
  }
  const smmu = SMMU.exec(text);
  return smmu ? { kind: 'fault', iova: smmu[3] ?? '', device: smmu[1] ?? '', flags: undefined } : undefined;
}

/** "0000:03:00.0" of "vfio-pci 0000:03:00.0". */
function nameOf(device: string): string {
  return device.slice(device.lastIndexOf(' ') + 1);
}

function readMark(text: string): Message | undefined {
  for (const mark of MARKS) {
    const match = mark.exec(text);
    if (match) return { kind: 'mark', text: match[0] };
  }
  return undefined;
}
