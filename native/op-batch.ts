import { opCode, type OpName } from './ops.ts';

/** Words per operation in the executor's input. */
export const OP_STRIDE = 11;

/**
 * Operands of one operation. All are plain numbers (exact below 2^53: guest-physical addresses have at most 52 bits); one that is absent is
 * null in the trace.
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
