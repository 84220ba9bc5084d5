import { ObjectNumber } from '../../capture/backends/backend.ts';
import { MAP_GPA_PRIVATE, MEMORY_PRIVATE, type Side } from '../../capture/request.ts';
import { type ExecutedBatch, OP_STRIDE, type OpBatch, OPS, type OpName } from '../../native/index.ts';
import { RangeMap } from '../range-map.ts';

/** What is known of a range of guest memory, as bits. */
const Bit = { isPrivate: 1, isShared: 2, privateHeld: 4, sharedHeld: 8 } as const;
const STATE = Bit.isPrivate | Bit.isShared;
const BOTH_HELD = Bit.privateHeld | Bit.sharedHeld;

const IS_EXIT: ReadonlySet<OpName> = new Set(['exit_map_gpa_range', 'exit_memory_fault']);

/** Advice of madvise(2) that gives memory back (MADV_DONTNEED, MADV_REMOVE) and that allocates it (MADV_POPULATE_READ, _WRITE). */
const MADVISE_DISCARDS: ReadonlySet<number> = new Set([4, 9]);
const MADVISE_ALLOCATES: ReadonlySet<number> = new Set([22, 23]);

/**
 * What rows say about guest memory: which side each address is on, and on which sides memory is held for it. Computed from what was executed, to be
 * held against what the kernel says.
 */
export class MemoryModel {
  readonly #memory = new RangeMap<number>();
  readonly #stateFromAttributes: boolean;
  #heldBytes = { private: 0, shared: 0, both: 0 };
  #peakBothBytes = 0;
  #peakBytes = 0;

  /** @param stateFromAttributes true: successful attribute calls move memory; false (no such call here): exits that were answered with 0. */
  constructor(stateFromAttributes: boolean) {
    this.#stateFromAttributes = stateFromAttributes;
  }

  /** Bytes that are backed on the private side, on the shared side, and on both. */
  get heldBytes(): { readonly private: number; readonly shared: number; readonly both: number } {
    return this.#heldBytes;
  }

  /** Most bytes backed on both sides at any time. */
  get peakBothBytes(): number {
    return this.#peakBothBytes;
  }

  /** Most bytes backed at any time, on both sides together: what a run needs of the host. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Which side each address is on: only what was converted is in it. */
  get state(): RangeMap<Side> {
    const state = new RangeMap<Side>();
    for (const range of this.#memory) {
      if ((range.value & STATE) === 0) continue;
      state.assign(range.start, range.end, (range.value & Bit.isPrivate) === 0 ? 'shared' : 'private');
    }
    return state;
  }

  /** Ranges by the side on which memory is held, for comparison with the kernel. */
  *held(side: Side): Generator<{ readonly start: number; readonly end: number }> {
    const bit = side === 'private' ? Bit.privateHeld : Bit.sharedHeld;
    for (const range of this.#memory) if ((range.value & bit) !== 0) yield range;
  }

  /** Takes over a conversion that succeeded. */
  convert(gpa: number, len: number, to: Side): void {
    const bit = to === 'private' ? Bit.isPrivate : Bit.isShared;
    this.#change(gpa, len, STATE, bit);
  }

  /** Takes over what a batch did: only rows without an errno, and exits that were answered with 0, change memory. */
  applyRows(rows: ExecutedBatch): void {
    const { op, errno, columns } = rows;
    for (let row = 0; row < rows.rows; row++) {
      if (errno[row] !== 0) continue;
      const name = OPS[op[row] ?? 0] ?? 'mark';
      if (IS_EXIT.has(name) && columns.result[row] !== 0n) continue;
      this.#apply(
        name,
        columns.obj[row] ?? 0,
        Number(columns.gpa[row]),
        Number(columns.len[row]),
        Number(columns.attrs[row]),
        Number(columns.flags[row]),
      );
    }
  }

  /** Takes over what a batch would do if every call in it worked. */
  applyPlanned(batch: OpBatch): void {
    const { words, count } = batch;
    for (let at = 0; at < count * OP_STRIDE; at += OP_STRIDE) {
      const [code = 0, obj = 0, gpa = 0, , len = 0, attrs = 0, flags = 0] = words.subarray(at, at + OP_STRIDE);
      this.#apply(OPS[code] ?? 'mark', obj, gpa, len, attrs, flags);
    }
  }

  #apply(op: OpName, obj: number, gpa: number, len: number, attrs: number, flags: number): void {
    if (IS_EXIT.has(op)) {
      const bits = op === 'exit_map_gpa_range' ? attrs & MAP_GPA_PRIVATE : flags & MEMORY_PRIVATE;
      if (!this.#stateFromAttributes) this.convert(gpa, len, bits === 0 ? 'shared' : 'private');
    } else if (op === 'kvm_set_memory_attributes') {
      if (this.#stateFromAttributes) this.convert(gpa, len, (attrs & MEMORY_PRIVATE) === 0 ? 'shared' : 'private');
    } else {
      const held = holds(op, flags);
      if (held === undefined) return;
      const bit = obj === ObjectNumber.private ? Bit.privateHeld : Bit.sharedHeld;
      this.#change(gpa, len, bit, held ? bit : 0);
    }
  }

  #change(gpa: number, len: number, clear: number, set: number): void {
    const held = { ...this.#heldBytes };
    this.#memory.update(gpa, gpa + len, (old = 0, start, end) => {
      const value = (old & ~clear) | set;
      const bytes = end - start;
      held.private += (has(value, Bit.privateHeld) - has(old, Bit.privateHeld)) * bytes;
      held.shared += (has(value, Bit.sharedHeld) - has(old, Bit.sharedHeld)) * bytes;
      held.both += (has(value, BOTH_HELD) - has(old, BOTH_HELD)) * bytes;
      return value === 0 ? undefined : value;
    });
    this.#heldBytes = held;
    this.#peakBothBytes = Math.max(this.#peakBothBytes, held.both);
    this.#peakBytes = Math.max(this.#peakBytes, held.private + held.shared);
  }
}

function has(value: number, bits: number): 0 | 1 {
  return (value & bits) === bits ? 1 : 0;
}

/** True if the operation brings memory to its side, false if it takes it away, undefined if it does neither. */
function holds(op: OpName, flags: number): boolean | undefined {
  switch (op) {
    case 'gmem_allocate':
    case 'gmem_touch':
    case 'guest_touch':
    case 'ram_allocate':
    case 'ram_touch':
    // A mapping pins its pages, so that they are there.
    case 'vfio_map_dma':
    case 'iommufd_ioas_map':
      return true;
    case 'gmem_punch_hole':
    case 'ram_punch_hole':
      return false;
    case 'ram_madvise':
      if (MADVISE_ALLOCATES.has(flags)) return true;
      return MADVISE_DISCARDS.has(flags) ? false : undefined;
    default:
      return undefined;
  }
}
