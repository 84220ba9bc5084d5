/**
 * Where guest memory is mapped for devices: a VFIO container, an IOAS of iommufd, or iommufd's mock device. One set of operations for each, so
 * that a strategy need not know which.
 */
import type { OpBatch, Operands, OpName } from '../../native/index.ts';
import { ObjectNumber } from '../backends/backend.ts';
import type { LeftOutStep, SlotRange } from '../trace/metadata.ts';

export const DMA_INTERFACES = ['type1', 'iommufd', 'iommufd-compat', 'mock'] as const;
export type DmaInterface = (typeof DMA_INTERFACES)[number];

/** A range of guest memory that lies in one slot. */
export interface MemoryPart {
  readonly gpa: number;
  readonly len: number;
  /** In the file or mapping behind the slot. */
  readonly offset: number;
}

export interface DmaTarget {
  readonly interface: DmaInterface;
  /** PCI address or group as the user named it; null for the mock. */
  readonly device: string | null;
  /** How gpa becomes iova, for people: "iova = gpa". */
  readonly addressing: string;
  readonly leftOut: readonly LeftOutStep[];
  /** Appends the operations that open it. */
  setUp(batch: OpBatch): void;
  /** Appends one mapping of a part, backed by that object. */
  map(batch: OpBatch, part: MemoryPart, backing: number, vcpu: number): void;
  /** Appends one unmapping. */
  unmap(batch: OpBatch, part: MemoryPart, vcpu: number): void;
}

/** First byte of the mock domain's aperture (MOCK_APERTURE_START), and the byte after its last. */
const MOCK_APERTURE = { start: 2 ** 24, end: 2 ** 31 } as const;
/** Where x86 has its MSI window, which no IOMMU maps memory at. */
const MSI_WINDOW = { start: 0xfee0_0000, end: 0xfef0_0000 } as const;
/** IOMMU_IOAS_MAP_FIXED_IOVA | WRITEABLE | READABLE of linux/iommufd.h. */
const FIXED_READ_WRITE = 7;
/** VFIO_DMA_MAP_FLAG_READ | WRITE of linux/vfio.h. */
const READ_WRITE = 3;
/** VFIO_TYPE1v2_IOMMU. */
const TYPE1V2 = 3;

type SetUp = readonly (readonly [OpName, Operands])[];

/** Numbers by which the kernel knows a device. */
export interface VfioDevice {
  /** As the user named it. */
  readonly name: string;
  readonly group: number;
  /** N of /dev/vfio/devices/vfioN; null where the kernel has no cdevs. */
  readonly cdev: number | null;
}

/** How guest memory is laid out in I/O-virtual memory. */
export interface Addressing {
  readonly text: string;
  iovaOf(part: MemoryPart): number;
}

/**
 * Guest memory at its own addresses where that is possible: VFIO refuses the MSI window, and the mock has 2 GiB less 16 MiB in all.
 * Undefined if it does not fit.
 */
export function addressingFor(dma: DmaInterface, slots: readonly SlotRange[]): Addressing | undefined {
  if (dma === 'mock') {
    const end = MOCK_APERTURE.start + Math.max(0, ...slots.map((slot) => slot.offset + slot.len));
    if (end > MOCK_APERTURE.end) return undefined;
    return {
      text: "iova = 16M + offset in guest memory: the mock domain's aperture is [16M, 2G)",
      iovaOf: (part) => MOCK_APERTURE.start + part.offset,
    };
  }
  const inWindow = slots.some((slot) => slot.gpa < MSI_WINDOW.end && slot.gpa + slot.len > MSI_WINDOW.start);
  return inWindow
    ? { text: 'iova = gpa + 4G: the MSI window at 0xfee00000 cannot be mapped', iovaOf: (part) => part.gpa + 2 ** 32 }
    : { text: 'iova = gpa', iovaOf: (part) => part.gpa };
}

/** The bytes of guest memory that the mock can map. */
export const MOCK_BYTES = MOCK_APERTURE.end - MOCK_APERTURE.start;

/** The operations that open an interface, in order. */
export function setUpOperations(dma: DmaInterface, device: VfioDevice | null): SetUp {
  const { iommufd, dma: space, device: deviceNumber } = ObjectNumber;
  const open: SetUp = [['iommufd_open', { obj: iommufd }]];
  const ioas: SetUp = [['iommufd_ioas_alloc', { obj: space, peer: iommufd }]];
  const group = device?.group ?? 0;
  switch (dma) {
    case 'type1':
      return [['vfio_set_iommu', { obj: space, attrs: group, flags: TYPE1V2 }]];
    case 'iommufd-compat':
      return [...open, ['vfio_set_iommu', { obj: space, attrs: group, flags: TYPE1V2, peer: iommufd }]];
    case 'iommufd':
      return [
        ...open,
        ['vfio_device_bind_iommufd', { obj: deviceNumber, peer: iommufd, attrs: device?.cdev ?? 0 }],
        ...ioas,
        ['vfio_attach_iommufd_pt', { obj: deviceNumber, peer: space }],
      ];
    case 'mock':
      return [...open, ...ioas, ['iommufd_test_mock_domain', { obj: deviceNumber, peer: space }]];
  }
}

export function makeTarget(
  dma: DmaInterface,
  device: VfioDevice | null,
  addressing: Addressing,
  leftOut: readonly LeftOutStep[],
): DmaTarget {
  const type1 = dma === 'type1' || dma === 'iommufd-compat';
  return {
    interface: dma,
    device: device?.name ?? null,
    addressing: addressing.text,
    leftOut,
    setUp(batch) {
      for (const [op, operands] of setUpOperations(dma, device)) batch.push(op, operands);
    },
    map(batch, part, backing, vcpu) {
      batch.push(type1 ? 'vfio_map_dma' : 'iommufd_ioas_map', {
        obj: ObjectNumber.dma,
        ...part,
        iova: addressing.iovaOf(part),
        flags: type1 ? READ_WRITE : FIXED_READ_WRITE,
        peer: backing,
        vcpu,
      });
    },
    unmap(batch, part, vcpu) {
      batch.push(type1 ? 'vfio_unmap_dma' : 'iommufd_ioas_unmap', {
        obj: ObjectNumber.dma,
        gpa: part.gpa,
        len: part.len,
        iova: addressing.iovaOf(part),
        ...(type1 && { flags: 0 }),
        vcpu,
      });
    },
  };
}
