/**
 * What a guest asks of its host or does to its memory, free of how a host answers. Workloads generate these, a recorded trace is read back
 * into these, and a strategy (bench/strategies) turns each into host operations.
 */

/** The two sides of guest memory. In KVM's terms private is KVM_MEMORY_ATTRIBUTE_PRIVATE, shared is its absence. */
export type Side = 'private' | 'shared';

interface Timed {
  /** ns: pause since the request before (workloads) or time since the trace's first request (replay), as the run's pacing says. */
  readonly paceNs: number;
  readonly vcpu: number;
}

/**
 * A range is to become private or shared. The guest asks for it with KVM_HC_MAP_GPA_RANGE or, implicitly, by a memory fault; or nobody asks and
 * the VMM sets the attributes by itself (`vmm`), as QEMU does for all memory before the guest starts: then no vCPU waits.
 */
export interface ConvertRequest extends Timed {
  readonly kind: 'convert';
  readonly trigger: 'exit_map_gpa_range' | 'exit_memory_fault' | 'vmm';
  /** bytes, multiple of 4 KiB */
  readonly gpa: number;
  /** bytes, multiple of 4 KiB, above 0 */
  readonly len: number;
  readonly to: Side;
}

/** The guest (or, on the shared side, also the VMM) uses memory: one access per 4 KiB page of the range. */
export interface TouchRequest extends Timed {
  readonly kind: 'touch';
  readonly gpa: number;
  readonly len: number;
  readonly side: Side;
  readonly write: boolean;
}

/** A phase begins. */
export interface MarkRequest extends Timed {
  readonly kind: 'mark';
  readonly name: string;
}

export type GuestRequest = ConvertRequest | TouchRequest | MarkRequest;

/** `attrs` of an `exit_map_gpa_range` row: bit 4 of the hypercall's attributes says private (Documentation/virt/kvm/x86/hypercalls.rst). */
export const MAP_GPA_PRIVATE = 0x10;

/** `flags` of an `exit_memory_fault` row, and `attrs` of a `kvm_set_memory_attributes` row: bit 3 says private (linux/kvm.h). */
export const MEMORY_PRIVATE = 0x8;

export const PAGE_BYTES = 4096;
