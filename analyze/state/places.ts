/** Which guest memory a row is about: as it says itself, or through the slots of that moment. */
import { RangeList } from './range-list.ts';
import type { GuestRange } from './request.ts';
import type { StateSink } from './sink.ts';
import type { Slots } from './slots.ts';
import type { StateRow } from './state-row.ts';

/** Guest-physical addresses have at most 52 bits. */
export const MAX_GPA = 2 ** 52;

export const MADV_DONTNEED = 4;
export const MADV_REMOVE = 9;

/** Without a place in the guest, what they do to its memory is not known. */
const UNPLACED_OPS: ReadonlySet<string> = new Set([
  'ram_allocate',
  'ram_punch_hole',
  'vfio_map_dma',
  'iommufd_ioas_map',
]);

/** First address after a range; -1 if it has none, or ends past the last address. */
export function pastOf(start: number, len: number): number {
  const past = start + len;
  return start < 0 || len < 0 || past > 2 ** 64 ? -1 : past;
}

export class Places {
  readonly #slots: Slots;
  readonly #sink: StateSink;
  /** The VM of rows that name none: the first that is spoken of. */
  #defaultVm = -1;
  readonly #gmemVm = new Map<number, number>();
  /** Files in processes: by file from the offset, by process from the hva; extra: what to add for the other. */
  readonly #fileAt = new Map<number, RangeList>();
  readonly #isFileHva = new Map<number, RangeList>();
  readonly #filePid = new Map<number, number>();
  #unplacedPrivate = 0;
  #unplacedShared = 0;

  constructor(slots: Slots, sink: StateSink) {
    this.#slots = slots;
    this.#sink = sink;
  }

  /** Calls that allocated, gave back or mapped memory of a guest where the trace does not say which. */
  get unplaced(): number {
    return this.#unplacedPrivate + (this.#slots.seen ? 0 : this.#unplacedShared);
  }

  /** The VM that an object's number stands for; -1 if the trace has named none so far. */
  vmOf(obj: number): number {
    if (obj < 0) return this.#defaultVm;
    if (this.#defaultVm < 0) this.#defaultVm = obj;
    return obj;
  }

  /** A guest_memfd is in a slot of a VM. */
  boundGmem(gmem: number, vm: number): void {
    this.#gmemVm.set(gmem, vm);
  }

  mapped(row: StateRow): void {
    const past = pastOf(row.hva, row.len);
    if (row.errno !== 0 || row.hva < 0 || !(past > row.hva)) return;
    listOf(this.#isFileHva, row.pid).set(row.hva, past, 0, row.seq, row.ts);
    if (row.obj < 0 || row.offset < 0) return;
    listOf(this.#fileAt, row.obj).set(row.offset, row.offset + row.len, 0, row.seq, row.ts, row.hva - row.offset);
    this.#filePid.set(row.obj, row.pid);
  }

  unmapped({ errno, pid, hva, len }: StateRow): void {
    if (errno === 0 && hva >= 0 && len > 0) this.#isFileHva.get(pid)?.clear(hva, hva + len);
  }

  /** Whether a file is mapped at a host address. */
  isFile(pid: number, hva: number): boolean {
    return hva >= 0 && this.#isFileHva.get(pid)?.at(hva, () => undefined) === true;
  }

  /** Empty if it is no guest memory, or not known to be. */
  rangesOf(row: StateRow): GuestRange[] {
    const { gpa, len } = row;
    if (!(len > 0)) return [];
    if (gpa >= 0) {
      const past = pastOf(gpa, len);
      if (!(past > gpa) || past > MAX_GPA) return [];
      const isVm = row.op === 'kvm_set_memory_attributes' || row.op === 'kvm_convert_memory';
      const vm = isVm ? this.vmOf(row.obj) : (this.#gmemVm.get(row.obj) ?? this.#defaultVm);
      return [{ vm, gpa, past }];
    }
    const ranges: GuestRange[] = [];
    const add = (vm: number, from: number, past: number): void => {
      ranges.push({ vm, gpa: from, past });
      this.#sink.place(row.seq, vm, from, past);
    };
    if (row.op.startsWith('gmem') || row.op === 'kvm_set_memory_attributes2')
      this.#slots.ofGmem(row.obj, row.offset, pastOf(row.offset, len), add);
    else if (row.hva >= 0) this.#slots.ofHva(row.pid, row.hva, pastOf(row.hva, len), add);
    else if (row.op.startsWith('ram') && row.offset >= 0)
      this.#fileAt.get(row.obj)?.forEach(row.offset, row.offset + len, (from, past, _value, _seq, _ns, toHva) => {
        this.#slots.ofHva(this.#filePid.get(row.obj) ?? row.pid, from + toHva, past + toHva, add);
      });
    if (ranges.length === 0 && row.errno === 0) this.#countUnplaced(row);
    return ranges;
  }

  /** Where slots are known, what is in none of them is not the guest's; of a guest_memfd, where it has had one. */
  #countUnplaced({ op, flags, obj }: StateRow): void {
    if (op === 'gmem_allocate' || op === 'gmem_punch_hole') this.#unplacedPrivate += this.#gmemVm.has(obj) ? 0 : 1;
    else if (op.startsWith('ram_madvise') ? flags === MADV_DONTNEED || flags === MADV_REMOVE : UNPLACED_OPS.has(op))
      this.#unplacedShared++;
  }
}

function listOf(lists: Map<number, RangeList>, of: number): RangeList {
  let list = lists.get(of);
  if (!list) lists.set(of, (list = new RangeList()));
  return list;
}
