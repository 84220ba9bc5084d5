import { opCode, type OpName } from './ops.ts';

/** Words per operation in the executor's input. */
export const OP_STRIDE = 11;

/**
 * Operands of one operation. All are plain numbers (exact below 2^53: guest-physical addresses have at most 52 bits); one that is absent is
 * null in the trace.
 *
 * Those of vCPUs and of a guest:
 * - `kvm_create_vcpu` {obj: new vCPU, vcpu: its id, peer: VM}.
 * - `kvm_pre_fault_memory` {obj: vCPU, gpa, len}: result = bytes done, which can be less than len.
 * - `kvm_memory_encrypt_op` {obj: VM, attrs: command}: 22 KVM_SEV_INIT2 of an SNP VM; 0 KVM_TDX_CAPABILITIES or 1 KVM_TDX_INIT_VM of a TDX VM.
 *   Not verified on hardware.
 * - `guest_touch` {gpa, len, flags: 1 write}: only in `runGuest`; result = pages.
 *
 * Those of VFIO, iommufd and its mock, where `memory` is a ram object or a guest_memfd that is mapped, of which [offset, offset + len) is meant;
 * its address goes to the hva column. A gpa is kept for the trace and not used.
 * - `vfio_set_iommu` {obj: new container, attrs: group number if any, flags: 1 type1 | 3 type1v2, peer: 0 or an iommufd for its compatibility
 *   mode}: opens /dev/vfio/vfio and the group; only VFIO_SET_IOMMU is timed. In the compatibility mode it opens a device of the group
 *   as well, because that is what attaches it. `errno` is of the first step that failed.
 * - `vfio_iommu_get_info` {obj: container}: result = mappings that are left (2^32 - 1: no limit), null if the kernel does not say.
 * - `vfio_map_dma` {obj: container, iova, offset, len, flags: 1 read | 2 write | 4 vaddr, peer: memory}.
 * - `vfio_unmap_dma` {obj: container, iova, len, flags: 2 all (no iova, no len) | 4 vaddr}: result = bytes unmapped.
 * - `vfio_device_bind_iommufd` {obj: new device, attrs: N of /dev/vfio/devices/vfioN, peer: iommufd}.
 * - `vfio_attach_iommufd_pt` {obj: device, peer: IOAS or HWPT}, `vfio_detach_iommufd_pt` {obj: device}; flags 1 with attrs: of a PASID.
 * - `iommufd_open` {obj: new iommufd}; `iommufd_ioas_alloc` {obj: new IOAS, peer: iommufd}.
 * - `iommufd_ioas_map` {obj: IOAS, iova, offset, len, flags: 1 fixed | 2 writeable | 4 readable, peer: memory}: not fixed, the kernel
 *   chooses, and the row has its iova. `iommufd_ioas_map_file`: the same by the memory's file from `offset` (hva stays null).
 * - `iommufd_ioas_unmap` {obj: IOAS, iova, len; neither: everything, which the row has as iova 0 and len 2^64 - 1}: result = bytes unmapped.
 * - `iommufd_ioas_copy` {obj: IOAS to, iova: there, peer: IOAS from, offset: iova there, len, flags: as of map}.
 * - `iommufd_ioas_change_process` {obj: iommufd}; `iommufd_vfio_ioas` {obj: iommufd, peer: IOAS of its compatibility mode}.
 * - `iommufd_option` {obj: iommufd or IOAS, attrs: 0 rlimit mode (of an iommufd that is empty yet) | 1 huge pages (of an IOAS), flags: value}.
 * - `iommufd_hwpt_alloc` {obj: new HWPT, peer: IOAS or parent, attrs: data type + device's number * 2^32, flags: 1 nest parent | 2 dirty
 *   tracking | 4 fault queue, whose number is then `offset`}. The type 0xdead is the mock's, any other but 0 has no data and is refused.
 * - `iommufd_hwpt_invalidate` {obj: nested HWPT, attrs: 0xdeadbeef, the mock's type, len: 8 bytes an entry, at most 1 MiB, flags: 1 all
 *   entries}: result = entries done.
 * - `iommufd_fault_queue_alloc` {obj: new queue, peer: iommufd}; `iommufd_fault_respond` {obj: queue, flags: 0 success | 1 invalid}: reads
 *   what waits, 64 page requests at most, and answers it; result = page requests answered, 0 if none waits.
 * - `iommufd_viommu_alloc` {obj: new, peer: HWPT, attrs: type + device's number * 2^32}, `iommufd_vdevice_alloc` {obj: new, peer: viommu, attrs:
 *   device's number * 2^32, offset: virtual id}.
 * - `iommufd_destroy` {obj: IOAS, HWPT, fault queue, viommu, vdevice or mock device}: its number is free afterwards.
 * - `iommufd_test_mock_domain` {obj: new mock device, peer: IOAS or HWPT}; `iommufd_test_md_check_map` {obj: mock device, iova, offset, len,
 *   peer: memory}: succeeds if its page table holds exactly this memory there, else EINVAL; `iommufd_test_trigger_iopf` {obj: mock device,
 *   iova, flags: 1 read | 2 write, attrs: page request group}: succeeds whether or not the device has a fault queue.
 * - `gup_hold` {obj: new hold, offset, len, flags: 1 write, peer: memory}, `gup_release` {obj: hold}: one hold at a time in all the kernel.
 *
 * Ids of two iommufds do not mix (EXDEV).
 */
export interface Operands {
  /** Number of the object it acts on or creates, 1 to 65535. */
  readonly obj?: number;
  /** Guest-physical address, bytes. */
  readonly gpa?: number;
  /** Offset in the object's file or mapping, bytes. */
  readonly offset?: number;
  /** Bytes. For `exit_*` the length of the request. */
  readonly len?: number;
  /** As passed to the call. `kvm_create_vm`: VM type. `kvm_set_user_memory_region2`: slot number + guest_memfd object number * 2^32. */
  readonly attrs?: number;
  /** As passed to the call. `ram_create`: {@link RamFlag}. `ram_touch`, `gmem_touch`: 1 write, 0 read. `ram_madvise`: the advice. */
  readonly flags?: number;
  /** ns: with absolute pacing when it is due since the run's start, with relative pacing the pause before it. 0: at once. */
  readonly paceNs?: number;
  /**
   * `exit_*`: how many of the operations that follow belong to it; its duration ends with the last of them. `kvm_create_guest_memfd`:
   * number of the VM. `kvm_set_user_memory_region2`: number of the ram object that backs the slot's shared side.
   */
  readonly peer?: number;
  readonly vcpu?: number;
  /** I/O-virtual address, bytes. */
  readonly iova?: number;
}

/** A batch of operations in the layout of the executor: {@link OP_STRIDE} float64 words each, NaN for an absent operand. */
export class OpBatch {
  #words: Float64Array;
  #count = 0;
  /** Text of the rows that have one (names of marks, side of a ram object), by index of the operation. */
  readonly details = new Map<number, string>();

  constructor(capacity = 1024) {
    this.#words = new Float64Array(capacity * OP_STRIDE);
  }

  get count(): number {
    return this.#count;
  }

  /** Appends an operation and returns its index. */
  push(op: OpName, operands: Operands, detail?: string): number {
    const index = this.#count++;
    const at = index * OP_STRIDE;
    if (at + OP_STRIDE > this.#words.length) {
      const grown = new Float64Array(this.#words.length * 2);
      grown.set(this.#words);
      this.#words = grown;
    }
    const words = this.#words;
    words[at] = opCode(op);
    words[at + 1] = operands.obj ?? NaN;
    words[at + 2] = operands.gpa ?? NaN;
    words[at + 3] = operands.offset ?? NaN;
    words[at + 4] = operands.len ?? NaN;
    words[at + 5] = operands.attrs ?? NaN;
    words[at + 6] = operands.flags ?? NaN;
    words[at + 7] = operands.paceNs ?? 0;
    words[at + 8] = operands.peer ?? 0;
    words[at + 9] = operands.vcpu ?? NaN;
    words[at + 10] = operands.iova ?? NaN;
    if (detail !== undefined) this.details.set(index, detail);
    return index;
  }

  /** Sets how many operations after `index` belong to the exit there: all that were pushed since. */
  closeExit(index: number): void {
    this.#words[index * OP_STRIDE + 8] = this.#count - index - 1;
  }

  /** The words of all operations; a view, valid until the next push. */
  get words(): Float64Array {
    return this.#words.subarray(0, this.#count * OP_STRIDE);
  }
}
