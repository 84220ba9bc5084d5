/** Requests that failed and left something behind, unless they are tried again with success. */
import type { Request } from './request.ts';
import { proofOf, type Hazard, type StateSink } from './sink.ts';
import type { Walk } from './walk.ts';
import { range, size } from './words.ts';

export class Failures {
  readonly #walk: Walk;
  readonly #sink: StateSink;
  /** Those that may be tried again, by vCPU or thread. */
  readonly #pending = new Map<string, { readonly request: Request; readonly hazard: Hazard }>();

  constructor(walk: Walk, sink: StateSink) {
    this.#walk = walk;
    this.#sink = sink;
  }

  /** A request is over. */
  close(request: Request): void {
    const key = request.vcpu >= 0 ? `vcpu ${request.vm}:${request.vcpu}` : `thread ${request.thread}`;
    const before = this.#pending.get(key);
    const hazard = this.#failure(request);
    if (before) {
      const again = before.request.wanted === request.wanted && overlap(before.request, request);
      // The same failure again is one failure.
      if (again && hazard) return;
      if (!again || !this.#madeUpFor(before.request, request)) this.#sink.hazard(before.hazard);
      this.#pending.delete(key);
    }
    if (hazard) this.#pending.set(key, { request, hazard });
  }

  /** Whether a request has done what the one before it could not. */
  #madeUpFor({ vm, gpa, past, wanted }: Request, request: Request): boolean {
    // A TD asks again only for the tail that was not done.
    return (
      (request.gpa <= gpa && request.past >= past) || this.#walk.guest(vm).measureSide(gpa, past, wanted) === past - gpa
    );
  }

  #failure(request: Request): Hazard | undefined {
    const { failed, refused } = request;
    const changedBytes = failed.length > 0 || refused === true ? this.#changedStill(request) : 0;
    const discard = failed.find(({ what }) => what === 'discard');
    const attribute = failed.find(({ what }) => what === 'attribute');
    const other = failed.find(({ what }) => what === 'allocate' || what === 'map');
    if (attribute) {
      const text = `KVM did not convert ${range(request.gpa, request.past)} (errno ${attribute.errno})`;
      if (request.isExit && refused === false)
        return this.#failedHazard(request, attribute.seq, `${text}, but the guest was told that it did`);
      if (changedBytes > 0)
        return this.#failedHazard(request, attribute.seq, `${text}, but a part of it: ${size(changedBytes)}`);
      if (this.#isSharedDiscarded(request))
        return this.#failedHazard(request, attribute.seq, `${text}, but shared memory of it was given back`);
      const now = request.gpa >= 0 ? this.#walk.dma.measure(request.vm, request.gpa, request.past) : 0;
      if (now !== request.mappedBefore && request.misfits.length === 0) {
        const what = now < request.mappedBefore ? 'devices lost it' : 'devices reach it now';
        return this.#failedHazard(
          request,
          attribute.seq,
          `${text}, but ${what}: ${size(Math.abs(now - request.mappedBefore))}`,
        );
      }
      return undefined;
    }
    if (other && changedBytes > 0) {
      const what = other.what === 'map' ? 'it could not be mapped for devices' : 'it could not be allocated';
      return this.#failedHazard(
        request,
        other.seq,
        `${range(request.gpa, request.past)} changed sides, but ${what} (errno ${other.errno}), and it was not put back`,
      );
    }
    if (discard) {
      return {
        kind: 'discard_failed',
        severity: 'error',
        seq: discard.seq,
        ns: discard.ns,
        vm: request.vm,
        gpa: discard.ranges[0]?.gpa ?? request.gpa,
        len: discard.ranges.reduce((sum, { gpa, past }) => sum + past - gpa, 0) || request.past - request.gpa,
        count: 1,
        proof: proofOf(request.seq, discard.seq),
        explanation: `${range(request.gpa, request.past)} was converted, but its other side could not be given back (errno ${discard.errno})`,
      };
    }
    // A failed unmap is a finding of its own, and the reason why.
    if (refused === true && changedBytes > 0 && request.misfits.length === 0) {
      return this.#failedHazard(
        request,
        request.seq,
        `the guest was told that converting ${range(request.gpa, request.past)} failed, but it was converted`,
      );
    }
    return undefined;
  }

  /** Bytes that the request brought to the side that was asked for and that are there still. */
  #changedStill({ vm, changed, wanted }: Request): number {
    let bytes = 0;
    const guest = this.#walk.guest(vm);
    for (let i = 0; i < changed.length; i += 2)
      bytes += guest.measureSide(changed[i] as number, changed[i + 1] as number, wanted);
    return bytes;
  }

  /** Whether the request gave back shared memory that is shared still. */
  #isSharedDiscarded({ discardedShared, toPrivate }: Request): boolean {
    return (
      toPrivate &&
      discardedShared.some(({ vm, gpa, past }) => this.#walk.guest(vm).measureSide(gpa, past, true) < past - gpa)
    );
  }

  #failedHazard(request: Request, seq: number, explanation: string): Hazard {
    return {
      kind: 'conversion_failed',
      severity: 'error',
      seq: request.seq,
      ns: request.ns,
      vm: request.vm,
      gpa: request.gpa,
      len: request.past - request.gpa,
      count: 1,
      proof: proofOf(request.seq, seq),
      explanation,
    };
  }

  /** Nothing is tried again any more. */
  end(): void {
    for (const { hazard } of this.#pending.values()) this.#sink.hazard(hazard);
  }
}

function overlap(a: Request, b: Request): boolean {
  return a.vm === b.vm && a.gpa < b.past && b.gpa < a.past;
}
