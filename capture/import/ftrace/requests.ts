import type { OpName } from '../../../native/index.ts';
import { IOCTLS } from '../ioctls.ts';
import type { RowSink } from '../row-sink.ts';
import type { Values } from './open-call.ts';

/** Puts what a request's struct says into the columns of its row. */
type StructReader = (sink: RowSink, words: Values) => void;

/**
 * What the first 64-bit words behind the pointer of an ioctl mean, for logs that have them (a probe with a0=+0(%dx):x64 a1=+8(%dx):x64 ...):
 * linux/kvm.h, linux/vfio.h, linux/iommufd.h. Words that a log lacks leave their columns null. They are the words before the call, so what a call
 * writes back is not known.
 */
const BY_OP: Partial<Record<OpName, StructReader>> = {
  kvm_set_user_memory_region: (sink, words) => {
    slot(sink, words);
    range(sink, words);
  },
  kvm_set_user_memory_region2: (sink, words) => {
    slot(sink, words);
    range(sink, words);
    if (words.has(4)) sink.offset(words.lo(4), words.hi(4));
  },
  kvm_set_memory_attributes: (sink, words) => {
    if (words.has(0)) sink.gpa(words.lo(0), words.hi(0));
    attributes(sink, words);
  },
  kvm_set_memory_attributes2: (sink, words) => {
    if (words.has(0)) sink.offset(words.lo(0), words.hi(0));
    attributes(sink, words);
  },
  kvm_create_guest_memfd: (sink, words) => {
    if (words.has(0)) sink.len(words.lo(0), words.hi(0));
    if (words.has(1)) sink.flags(words.lo(1), words.hi(1));
  },
  kvm_pre_fault_memory: (sink, words) => {
    if (words.has(0)) sink.gpa(words.lo(0), words.hi(0));
    if (words.has(1)) sink.len(words.lo(1), words.hi(1));
    if (words.has(2)) sink.flags(words.lo(2), words.hi(2));
  },
  kvm_memory_encrypt_reg_region: hvaRange,
  kvm_memory_encrypt_unreg_region: hvaRange,
  vfio_map_dma: (sink, words) => {
    upperFlags(sink, words);
    if (words.has(1)) sink.hva(words.lo(1), words.hi(1));
    if (words.has(2)) sink.iova(words.lo(2), words.hi(2));
    if (words.has(3)) sink.len(words.lo(3), words.hi(3));
  },
  vfio_unmap_dma: (sink, words) => {
    upperFlags(sink, words);
    if (words.has(1)) sink.iova(words.lo(1), words.hi(1));
    if (words.has(2)) sink.len(words.lo(2), words.hi(2));
  },
  iommufd_ioas_map: (sink, words) => {
    upperFlags(sink, words);
    if (words.has(2)) sink.hva(words.lo(2), words.hi(2));
    if (words.has(3)) sink.len(words.lo(3), words.hi(3));
    fixedIova(sink, words);
  },
  iommufd_ioas_map_file: (sink, words) => {
    upperFlags(sink, words);
    if (words.has(2)) sink.offset(words.lo(2), words.hi(2));
    if (words.has(3)) sink.len(words.lo(3), words.hi(3));
    fixedIova(sink, words);
  },
  iommufd_ioas_unmap: (sink, words) => {
    if (words.has(1)) sink.iova(words.lo(1), words.hi(1));
    if (words.has(2)) sink.len(words.lo(2), words.hi(2));
  },
  iommufd_ioas_copy: (sink, words) => {
    upperFlags(sink, words);
    if (words.has(2)) sink.len(words.lo(2), words.hi(2));
    if (words.has(3) && isFixed(words)) sink.iova(words.lo(3), words.hi(3));
  },
};

/** The first version of the in-place conversion series: on a VM, with an address where the later one has an offset. */
const KVM_SET_MEMORY_ATTRIBUTES2_ON_VM = 0xc040aed6;

/** By request. */
export const STRUCTS: ReadonlyMap<number, StructReader> = new Map(
  IOCTLS.flatMap(({ request, op }): [number, StructReader][] => {
    const read =
      request === KVM_SET_MEMORY_ATTRIBUTES2_ON_VM ? BY_OP.kvm_set_memory_attributes : op ? BY_OP[op] : undefined;
    return read ? [[request, read]] : [];
  }),
);

/** Requests about an address space or a page table of the iommufd that they are made to, which the struct says. */
export const IOAS_REQUESTS: ReadonlySet<OpName> = new Set<OpName>([
  'iommufd_destroy',
  'iommufd_ioas_alloc',
  'iommufd_ioas_map',
  'iommufd_ioas_map_file',
  'iommufd_ioas_unmap',
  'iommufd_ioas_copy',
  'iommufd_option',
  'iommufd_hwpt_alloc',
  'iommufd_hwpt_invalidate',
  'iommufd_fault_queue_alloc',
  'iommufd_viommu_alloc',
  'iommufd_vdevice_alloc',
]);

/** Requests whose row has as its result what they write back, which no log of calls has. */
export const RESULT_IN_STRUCT: ReadonlySet<OpName> = new Set<OpName>([
  'iommufd_ioas_unmap',
  'iommufd_hwpt_invalidate',
  'vfio_unmap_dma',
  'vfio_iommu_get_info',
  'kvm_pre_fault_memory',
]);

/**
 * Id of the IOAS that the request of this name is about; -1 if it is about none, or if the words do not say.
 */
export function ioasOf(op: OpName, words: Values): number {
  if (op === 'iommufd_ioas_map' || op === 'iommufd_ioas_map_file') return words.has(1) ? words.lo(1) : -1;
  if (op === 'iommufd_ioas_unmap') return words.has(0) ? words.hi(0) : -1;
  if (op === 'iommufd_ioas_copy') return words.has(1) ? words.lo(1) : -1;
  return -1;
}

/**
 * Size of the struct as a VFIO caller gives it (argsz, the lower half of the first word): tells MAP_DMA and UNMAP_DMA from requests of other files with
 * the same number. Sizes are from linux/vfio.h.
 */
export function hasSizeOf(op: OpName, words: Values): boolean {
  if (!words.has(0)) return false;
  const size = words.lo(0);
  const flags = words.hi(0);
  // READ, WRITE and VADDR; GET_DIRTY_BITMAP (which has a bitmap's description behind it), ALL and VADDR.
  if (op === 'vfio_map_dma') return size === 32 && flags > 0 && flags < 8;
  return op === 'vfio_unmap_dma' && (size === 24 || size === 48) && flags < 8;
}

const IOMMU_IOAS_MAP_FIXED_IOVA = 1;

function isFixed(words: Values): boolean {
  return words.has(0) && (words.hi(0) & IOMMU_IOAS_MAP_FIXED_IOVA) !== 0;
}

/** Without the flag the kernel chooses the IOVA, and writes it there only afterwards. */
function fixedIova(sink: RowSink, words: Values): void {
  if (words.has(4) && isFixed(words)) sink.iova(words.lo(4), words.hi(4));
}

function upperFlags(sink: RowSink, words: Values): void {
  if (words.has(0)) sink.flags(words.hi(0), 0);
}

/** Slot number as a row has it, in attrs, and its flags. */
function slot(sink: RowSink, words: Values): void {
  if (!words.has(0)) return;
  sink.attrs(words.lo(0), 0);
  sink.flags(words.hi(0), 0);
}

function range(sink: RowSink, words: Values): void {
  if (words.has(1)) sink.gpa(words.lo(1), words.hi(1));
  if (words.has(2)) sink.len(words.lo(2), words.hi(2));
  if (words.has(3)) sink.hva(words.lo(3), words.hi(3));
}

function attributes(sink: RowSink, words: Values): void {
  if (words.has(1)) sink.len(words.lo(1), words.hi(1));
  if (words.has(2)) sink.attrs(words.lo(2), words.hi(2));
  if (words.has(3)) sink.flags(words.lo(3), words.hi(3));
}

function hvaRange(sink: RowSink, words: Values): void {
  if (words.has(0)) sink.hva(words.lo(0), words.hi(0));
  if (words.has(1)) sink.len(words.lo(1), words.hi(1));
}
