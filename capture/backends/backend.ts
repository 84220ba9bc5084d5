import type { Native, OpBatch } from '../../native/index.ts';
import type { DmaTarget } from '../dma/target.ts';
import type { LeftOutStep, SlotRange } from '../trace/metadata.ts';

/** Numbers of the objects in a trace that a backend makes. Stable: the same in every trace from it. */
export const ObjectNumber = {
  vm: 1,
  shared: 2,
  private: 3,
  /** Memory of the guest program. */
  program: 4,
  iommufd: 5,
  /** What memory is mapped into for DMA: an IOAS, or a VFIO container. */
  dma: 6,
  device: 7,
  /** The first vCPU; the others follow. */
  vcpu: 16,
} as const;

/** What of a conversion this host can do for real. A strategy plans only what is true here; the rest is in `leftOut`. */
export interface BackendAbilities {
  /** KVM_SET_MEMORY_ATTRIBUTES on the VM. */
  readonly attributes: boolean;
  /** KVM_SET_MEMORY_ATTRIBUTES2 on a guest_memfd that can be mapped: conversion in place. */
  readonly inPlace: boolean;
  /** KVM_PRE_FAULT_MEMORY on a vCPU. */
  readonly preFault: boolean;
  /** Pages of the private side can be touched. */
  readonly privateTouch: boolean;
  /** What the private side is: its operations are gmem_* on a guest_memfd, ram_* on the stand-in. */
  readonly privateKind: 'gmem' | 'ram';
  /** What the shared side is: a file can be punched and allocated, anonymous memory only madvised. */
  readonly sharedFile: boolean;
}

/** A running guest that performs the requests itself. */
export interface GuestSetting {
  readonly vcpus: number;
  /** Where its program is: above all memory of the slots, bytes. */
  programGpa(slots: readonly SlotRange[]): number;
}

export interface Backend {
  readonly name: string;
  /** One line for lists and help. */
  readonly summary: string;
  /** True if its private side only stands in for a guest_memfd. */
  readonly standIn: boolean;
  /** As of `GuestInfo.vmType`. */
  readonly vmType: string | null;
  readonly abilities: BackendAbilities;
  readonly leftOut: readonly LeftOutStep[];
  /** null: nobody runs, and exits are made up. */
  readonly guest: GuestSetting | null;
  /** Where shared memory is mapped for devices; null: nowhere. */
  readonly dma: DmaTarget | null;
  /** Appends the operations that make the VM, its memory and its slots. */
  setUp(batch: OpBatch, layout: MemoryLayout): void;
}

export interface MemoryLayout {
  readonly slots: readonly SlotRange[];
  /**
   * The VM gets its slots only as the guest faults on them, all memory being private in its attributes: the one way in which a VM of type
   * KVM_X86_SW_PROTECTED_VM has KVM_EXIT_MEMORY_FAULT, as it takes the kind of an access from the attribute.
   */
  readonly slotsOnFault?: boolean;
}

export interface BackendKind {
  readonly name: string;
  readonly summary: string;
  /**
   * Tries on the host what the backend can do there, with a page of real memory, and closes it again.
   * @throws CvmtraceError UNAVAILABLE with the reason.
   */
  open(native: Native): Promise<Backend>;
}

/** Bytes that the objects behind the slots need: where the last slot ends in them. */
export function slotsEnd(slots: readonly SlotRange[]): number {
  return Math.max(0, ...slots.map((slot) => slot.offset + slot.len));
}

/** Where the last slot ends in guest-physical memory. */
export function slotsTop(slots: readonly SlotRange[]): number {
  return Math.max(0, ...slots.map((slot) => slot.gpa + slot.len));
}
