/** The requests that every workload is made of. All are of vCPU 0: firmware and early boot run on one. */
import {
  type GuestRequest,
  PAGE_BYTES,
  type ConvertRequest,
  type MarkRequest,
  type Side,
  type TouchRequest,
} from '../request.ts';

/** Guest-physical memory, bytes in whole pages. */
export interface Range {
  readonly gpa: number;
  readonly len: number;
}

/** The step in which kernels convert and accept where alignment allows it. */
export const STEP_BYTES = 2 ** 21;

/** The guest's hypercall to convert a range, after a think time of paceNs. */
export function convert({ gpa, len }: Range, to: Side, paceNs = 0): ConvertRequest {
  return { kind: 'convert', trigger: 'exit_map_gpa_range', gpa, len, to, paceNs, vcpu: 0 };
}

export function write({ gpa, len }: Range, side: Side): TouchRequest {
  return { kind: 'touch', gpa, len, side, write: true, paceNs: 0, vcpu: 0 };
}

export function read({ gpa, len }: Range, side: Side): TouchRequest {
  return { kind: 'touch', gpa, len, side, write: false, paceNs: 0, vcpu: 0 };
}

export function mark(name: string): MarkRequest {
  return { kind: 'mark', name, paceNs: 0, vcpu: 0 };
}

/** The first `percent` of a range in whole pages, rounded up; undefined if that is nothing. */
export function firstPercent({ gpa, len }: Range, percent: number): Range | undefined {
  const pages = Math.ceil((len / PAGE_BYTES) * (percent / 100));
  return pages > 0 ? { gpa, len: pages * PAGE_BYTES } : undefined;
}

/** A stream as one of several vCPUs has it: its memory begins at `base`, and phases are those of the first vCPU. */
export function* onVcpu(requests: Iterable<GuestRequest>, vcpu: number, base: number): Generator<GuestRequest> {
  for (const request of requests) {
    if (request.kind === 'mark') {
      if (vcpu === 0) yield request;
    } else {
      yield { ...request, vcpu, gpa: base + request.gpa };
    }
  }
}
