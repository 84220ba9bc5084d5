/**
 * Requests as they go by: an exit of a vCPU, or an attribute call that the VMM makes by itself, with the calls that belong to it. The rules are those
 * of `sql/conversions.sql`; a call of the VMM's own is followed further, until its thread converts something else, because QEMU's events say what
 * it is about to do before it does it.
 */
import type { OwnedMapping, PlacedMapping } from './dma.ts';
import type { DmaSpace } from './dma-space.ts';
import type { StateRow } from './state-row.ts';

/** A part of guest memory. */
export interface GuestRange {
  readonly vm: number;
  readonly gpa: number;
  readonly past: number;
}

/** A call inside a request that failed and was not made good yet. */
export interface FailedCall {
  readonly seq: number;
  readonly ns: number;
  readonly what: 'attribute' | 'allocate' | 'map' | 'discard';
  readonly errno: number;
  readonly ranges: readonly GuestRange[];
}

/** Memory that was given back while a device could reach it. */
export interface MappedDiscard {
  readonly seq: number;
  readonly ns: number;
  readonly ranges: readonly GuestRange[];
  readonly bytes: number;
  readonly mappings: readonly PlacedMapping[];
}

/** An unmap that left something of its range mapped. */
export interface Misfit {
  readonly seq: number;
  readonly ns: number;
  readonly left: readonly OwnedMapping[];
  readonly iova: number;
  readonly past: number;
}

export interface Request {
  readonly seq: number;
  readonly ns: number;
  /** When the vCPU runs again, ns; -1 if unknown, then the thread's next request ends it. */
  readonly end: number;
  readonly thread: number;
  readonly vcpu: number;
  readonly vm: number;
  readonly isExit: boolean;
  readonly isFault: boolean;
  readonly gpa: number;
  readonly past: number;
  /** What was asked for first. */
  readonly wanted: boolean;
  /** What the VMM set last. */
  toPrivate: boolean;
  /** The guest was told that it failed; undefined if the trace does not say what it was told. */
  readonly refused: boolean | undefined;
  /** Parts that changed sides, as start and end in turns. */
  changed: number[];
  changedBytes: number;
  /** Of what changed, what a hypercall had asked for. */
  askedBytes: number;
  inPlace: boolean;
  readonly failed: FailedCall[];
  readonly mappedDiscards: MappedDiscard[];
  readonly misfits: Misfit[];
  /** Maps of memory that was private just then. */
  readonly privateMaps: (OwnedMapping & { readonly range: GuestRange })[];
  /** Bytes that a device could reach when it began; -1 for a request of the VMM's own. */
  readonly mappedBefore: number;
  readonly unmaps: { readonly space: DmaSpace; readonly iova: number; readonly past: number; readonly seq: number }[];
  /** Shared memory that was given back. */
  readonly discardedShared: GuestRange[];
}

/** Requests that an untrusted trace can keep open at a time. */
const MAX_OPEN = 65_536;

export class Requests {
  /** The last request of each thread, over or not: calls are attributed to it. */
  readonly #last = new Map<number, Request>();
  readonly #open = new Set<Request>();
  #earliestEnd = Infinity;

  /** The request that a row belongs to. */
  of(row: StateRow, touches: boolean): Request | undefined {
    const request = this.#last.get(row.thread);
    if (!request) return undefined;
    const timed = request.isExit && request.end >= 0 && row.ts >= 0;
    if (timed) {
      const inside = row.ts >= request.ns && row.ts < request.end;
      const atOnce = request.end === request.ns && row.ts === request.ns && row.dur <= 0;
      return inside || atOnce ? request : undefined;
    }
    if (touches) return undefined;
    return row.gpa < 0 || row.len < 0 || (row.gpa < request.past && request.gpa < row.gpa + row.len)
      ? request
      : undefined;
  }

  open(request: Request, close: (request: Request) => void): void {
    this.closeThread(request.thread, close);
    const [oldest] = this.#open.size >= MAX_OPEN ? this.#open : [];
    if (oldest) {
      this.#open.delete(oldest);
      close(oldest);
    }
    this.#last.set(request.thread, request);
    this.#open.add(request);
    if (request.end >= 0) this.#earliestEnd = Math.min(this.#earliestEnd, request.end);
  }

  /** Closes those that were over at this time. */
  closeUntil(ns: number, close: (request: Request) => void): void {
    if (ns < this.#earliestEnd) return;
    this.#earliestEnd = Infinity;
    for (const request of this.#open) {
      if (request.end < 0) continue;
      // One of no length has the calls that start with it.
      if (request.end < ns || (request.end === ns && request.end > request.ns)) {
        this.#open.delete(request);
        close(request);
      } else this.#earliestEnd = Math.min(this.#earliestEnd, request.end);
    }
  }

  closeThread(thread: number, close: (request: Request) => void): void {
    const request = this.#last.get(thread);
    if (request && this.#open.delete(request)) close(request);
  }

  closeAll(close: (request: Request) => void): void {
    for (const request of this.#open) {
      this.#open.delete(request);
      close(request);
    }
  }

  get isOpen(): boolean {
    return this.#open.size > 0;
  }
}

/** A request that begins with this row; what is not said otherwise is not known yet. */
export function newRequest(
  row: StateRow,
  about: Pick<Request, 'vm' | 'gpa' | 'past' | 'wanted' | 'isExit' | 'isFault' | 'end' | 'refused' | 'mappedBefore'>,
): Request {
  return {
    seq: row.seq,
    ns: row.ts,
    thread: row.thread,
    vcpu: row.vcpu,
    ...about,
    toPrivate: about.wanted,
    changed: [],
    changedBytes: 0,
    askedBytes: 0,
    inPlace: false,
    failed: [],
    mappedDiscards: [],
    misfits: [],
    privateMaps: [],
    discardedShared: [],
    unmaps: [],
  };
}

export function failedCall(row: StateRow, what: FailedCall['what'], ranges: readonly GuestRange[]): FailedCall {
  return { seq: row.seq, ns: row.ts, what, errno: row.errno, ranges };
}

/** A later call of the same kind on the same memory went well. */
export function madeGood(request: Request, what: string, ranges: readonly GuestRange[]): void {
  for (let i = request.failed.length - 1; i >= 0; i--) {
    const failed = request.failed[i];
    if (failed?.what !== what) continue;
    const again = failed.ranges.every((old) =>
      ranges.some(({ vm, gpa, past }) => vm === old.vm && gpa <= old.gpa && past >= old.past),
    );
    if (again) request.failed.splice(i, 1);
  }
}
