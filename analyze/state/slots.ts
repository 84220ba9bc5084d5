/**
 * The memory slots that are live, and through them what is where: guest-physical, host-virtual, and offset in a guest_memfd
 * (KVM_SET_USER_MEMORY_REGION and ..REGION2, Documentation/virt/kvm/api.rst).
 */
import { RangeList } from './range-list.ts';

export interface Slot {
  readonly vm: number;
  /** Slot number; bits 16 to 31 are the address space (1: SMM on x86). */
  readonly id: number;
  readonly pid: number;
  readonly gpa: number;
  readonly len: number;
  /** -1 if unknown. */
  readonly hva: number;
  /** Number of the guest_memfd, -1 without one. */
  readonly gmem: number;
  readonly gmemOffset: number;
  readonly flags: number;
  readonly fromSeq: number;
  readonly fromNs: number;
  /** -1 while it lives. */
  pastSeq: number;
}

/** A part of guest memory. */
export type GuestRangeVisitor = (vm: number, gpa: number, past: number) => void;

/** A KVM has at most 32764 slots per address space; this many of an untrusted trace are enough. */
const MAX_ALIASES = 64;

export class Slots {
  readonly #live = new Map<string, number>();
  readonly #slots: Slot[] = [];
  /** From an address to a slot's index: gpa by VM, hva by process, offset by guest_memfd. */
  readonly #byGpa = new Map<number, RangeList>();
  readonly #byHva = new Map<number, RangeList>();
  readonly #byOffset = new Map<number, RangeList>();
  /** The last slot that each hva had, live or not, by process. */
  readonly #everByHva = new Map<number, RangeList>();

  /** Whether the trace has shown any slot. */
  get seen(): boolean {
    return this.#slots.length > 0;
  }

  /** Makes a slot, in the place of what had its number before; `ended` is told of that. */
  set(slot: Slot, ended: (slot: Slot) => void): void {
    this.delete(slot.vm, slot.id, slot.fromSeq, ended);
    if (slot.len <= 0) return;
    const index = this.#slots.push(slot) - 1;
    this.#live.set(key(slot.vm, slot.id), index);
    this.#enter(slot, index);
  }

  delete(vm: number, id: number, seq: number, ended: (slot: Slot) => void): void {
    const index = this.#live.get(key(vm, id));
    const slot = index === undefined ? undefined : this.#slots[index];
    if (index === undefined || slot === undefined) return;
    this.#live.delete(key(vm, id));
    slot.pastSeq = seq;
    this.#leave(slot, index);
    ended(slot);
  }

  deleteAll(vm: number, seq: number, ended: (slot: Slot) => void): void {
    for (const index of [...this.#live.values()]) {
      const slot = this.#slots[index];
      if (slot?.vm === vm) this.delete(vm, slot.id, seq, ended);
    }
  }

  *live(): Generator<Slot> {
    for (const index of this.#live.values()) yield this.#slots[index] as Slot;
  }

  /** Bytes of guest memory that a slot has. */
  measure(vm: number, gpa: number, past: number): number {
    return this.#byGpa.get(vm)?.measure(gpa, past) ?? 0;
  }

  /** Whether [gpa, past) holds a whole slot. */
  holdsWholeSlot(vm: number, gpa: number, past: number): boolean {
    let holds = false;
    this.#byGpa.get(vm)?.forEach(gpa, past, (_from, _to, index) => {
      const slot = this.#slots[index];
      holds ||= slot !== undefined && slot.gpa >= gpa && slot.gpa + slot.len <= past;
      return !holds;
    });
    return holds;
  }

  /** The host addresses of guest memory, piece by piece. */
  hvaOf(
    vm: number,
    gpa: number,
    past: number,
    visit: (pid: number, hva: number, past: number, gpa: number) => void,
  ): void {
    this.#byGpa.get(vm)?.forEach(gpa, past, (from, to, index) => {
      const slot = this.#slots[index];
      if (slot === undefined || slot.hva < 0) return;
      visit(slot.pid, slot.hva + from - slot.gpa, slot.hva + to - slot.gpa, from);
    });
  }

  /** Guest memory at host addresses. Where several slots have the same (a ROM and its alias), the one made last. */
  ofHva(pid: number, hva: number, past: number, visit: GuestRangeVisitor): void {
    this.#byHva.get(pid)?.forEach(hva, past, (from, to, index) => {
      const slot = this.#slots[index];
      if (slot) visit(slot.vm, slot.gpa + from - slot.hva, slot.gpa + to - slot.hva);
    });
  }

  /** Guest memory at an offset of a guest_memfd. */
  ofGmem(gmem: number, offset: number, past: number, visit: GuestRangeVisitor): void {
    this.#byOffset.get(gmem)?.forEach(offset, past, (from, to, index) => {
      const slot = this.#slots[index];
      if (slot) visit(slot.vm, slot.gpa + from - slot.gmemOffset, slot.gpa + to - slot.gmemOffset);
    });
  }

  /** gpa of a host address in a slot that lived at some time since row `since`; -1 if none did. */
  gpaSince(pid: number, hva: number, since: number): number {
    let gpa = -1;
    this.#everByHva.get(pid)?.at(hva, (_from, _to, index) => {
      const slot = this.#slots[index];
      if (slot && (slot.pastSeq < 0 || slot.pastSeq > since)) gpa = slot.gpa + hva - slot.hva;
    });
    return gpa;
  }

  #enter(slot: Slot, index: number): void {
    // SMM's address space shows other memory at the same addresses; what the guest converts is in the first.
    if (slot.id >= 65536) return;
    const { gpa, len, hva } = slot;
    listOf(this.#byGpa, slot.vm).set(gpa, gpa + len, index, slot.fromSeq, slot.fromNs);
    if (hva >= 0) {
      listOf(this.#byHva, slot.pid).set(hva, hva + len, index, slot.fromSeq, slot.fromNs);
      listOf(this.#everByHva, slot.pid).set(hva, hva + len, index, slot.fromSeq, slot.fromNs);
    }
    if (slot.gmem >= 0)
      listOf(this.#byOffset, slot.gmem).set(slot.gmemOffset, slot.gmemOffset + len, index, slot.fromSeq, slot.fromNs);
  }

  #leave(slot: Slot, index: number): void {
    if (slot.id >= 65536) return;
    clearOwn(this.#byGpa.get(slot.vm), slot.gpa, slot.len, index);
    if (slot.gmem >= 0) clearOwn(this.#byOffset.get(slot.gmem), slot.gmemOffset, slot.len, index);
    if (slot.hva < 0) return;
    clearOwn(this.#byHva.get(slot.pid), slot.hva, slot.len, index);
    // Another slot on the same memory is seen again.
    let aliases = 0;
    for (const other of this.#live.values()) {
      if (++aliases > MAX_ALIASES) break;
      const alias = this.#slots[other] as Slot;
      if (alias.pid !== slot.pid || alias.id >= 65536 || alias.hva < 0) continue;
      const from = Math.max(alias.hva, slot.hva);
      const to = Math.min(alias.hva + alias.len, slot.hva + slot.len);
      if (from < to) listOf(this.#byHva, slot.pid).set(from, to, other, alias.fromSeq, alias.fromNs);
    }
  }
}

function key(vm: number, id: number): string {
  return `${vm}:${id}`;
}

function listOf(lists: Map<number, RangeList>, of: number): RangeList {
  let list = lists.get(of);
  if (!list) lists.set(of, (list = new RangeList()));
  return list;
}

/** Takes away what is still this slot's. */
function clearOwn(list: RangeList | undefined, start: number, len: number, index: number): void {
  const own: number[] = [];
  list?.forEach(start, start + len, (from, to, value) => {
    if (value === index) own.push(from, to);
  });
  for (let i = 0; i < own.length; i += 2) list?.clear(own[i] as number, own[i + 1] as number);
}
