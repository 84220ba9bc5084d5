/** Says what is wrong: of each request when it is over, of calls outside requests at once. One fault is one finding. */
import type { OwnedMapping, PlacedMapping } from './dma.ts';
import type { DmaSpace, Mapping } from './dma-space.ts';
import { EntryLimits } from './entry-limits.ts';
import { Failures } from './failures.ts';
import { FlipStorms } from './flip-storms.ts';
import type { GuestRange, MappedDiscard, Misfit, Request } from './request.ts';
import { proofOf, type Severity, type StateSink } from './sink.ts';
import type { Walk } from './walk.ts';
import { counted, hex, range, size } from './words.ts';

const LEAST_DOUBLY_HELD = 64 * 2 ** 20;
const PROOF_ROWS = 8;

/** Memory that a VMM mapped as a whole when it made the VM, and that is private by now. */
interface StaticMapping {
  readonly space: DmaSpace;
  readonly mapping: Mapping;
  readonly seq: number;
  readonly ns: number;
  /** Requests that made a part of it private. */
  requests: number;
}

/** Memory held on both sides beyond the limit, from its first row on. */
interface DoublyHeld {
  readonly seq: number;
  readonly ns: number;
  peak: number;
  peakSeq: number;
}

export class Judge {
  readonly #walk: Walk;
  readonly #sink: StateSink;
  readonly #static = new Map<string, StaticMapping>();
  readonly #failures: Failures;
  readonly entries: EntryLimits;
  readonly storms: FlipStorms;
  #doublyHeld: DoublyHeld | undefined;

  constructor(walk: Walk, sink: StateSink) {
    this.#walk = walk;
    this.#sink = sink;
    this.#failures = new Failures(walk, sink);
    this.entries = new EntryLimits(sink, walk.facts.limits.dmaEntryShare);
    this.storms = new FlipStorms(sink);
  }

  /** A request is over. */
  close(request: Request): void {
    const misfits = request.misfits.length > 0;
    for (const misfit of request.misfits) this.leftPiece(misfit, true);
    const stale = request.toPrivate && !misfits && this.#stale(request);
    if (!stale && !misfits)
      for (const discard of request.mappedDiscards) this.discardedWhileMapped(discard, unmapAfter(request, discard));
    this.#privateMaps(request);
    this.#failures.close(request);
    if (request.isFault && request.changedBytes > request.askedBytes) {
      this.#sink.hazard({
        kind: 'implicit_conversion',
        severity: 'warning',
        seq: request.seq,
        ns: request.ns,
        vm: request.vm,
        gpa: request.gpa,
        len: request.past - request.gpa,
        count: 1,
        proof: [request.seq],
        explanation: `vCPU ${request.vcpu < 0 ? '?' : request.vcpu} just used ${range(request.gpa, request.past)} as ${request.toPrivate ? 'private' : 'shared'} memory, without asking for a conversion`,
      });
    }
    this.#checkDoublyHeld(request.seq, request.ns);
  }

  end(): void {
    this.#failures.end();
    for (const found of this.#static.values()) this.#tellStatic(found);
    this.entries.end();
    if (this.#doublyHeld) this.#tellDoublyHeld(this.#doublyHeld);
    this.storms.end();
  }

  /** A row outside all requests has changed what is held. */
  held(seq: number, ns: number, inRequest: boolean): void {
    if (!inRequest) this.#checkDoublyHeld(seq, ns);
  }

  /** @param unmapSeq row of the unmap that came after it in the same request, -1 if none did */
  discardedWhileMapped(discard: MappedDiscard, unmapSeq: number): void {
    const { seq, ns, ranges, bytes, mappings } = discard;
    const first = mappings[0];
    this.#sink.hazard({
      kind: 'discarded_while_mapped',
      severity: 'error',
      seq,
      ns,
      ...(ranges[0] && { vm: ranges[0].vm, gpa: ranges[0].gpa }),
      ...(first && { obj: first.space.obj, iova: first.mapping.iova }),
      len: bytes,
      count: mappings.length,
      proof: proofOf(...mappings.slice(0, PROOF_ROWS).map(({ mapping }) => mapping.seq), seq, unmapSeq),
      explanation: `${size(bytes)} of shared memory are given back while a device can reach them: ${
        unmapSeq >= 0 ? 'the unmap comes too late' : 'it goes on with pages that the guest no longer has'
      }`,
    });
  }

  leftPiece({ seq, ns, left, iova, past }: Misfit, inRequest: boolean): void {
    const still = left.filter(isLive);
    const first = still[0] ?? left[0];
    if (!first) return;
    const gone = inRequest && still.length === 0;
    this.#sink.hazard({
      kind: 'unmap_left_piece',
      severity: gone ? 'warning' : 'error',
      seq,
      ns,
      obj: first.space.obj,
      iova: first.mapping.iova,
      len: first.mapping.past - first.mapping.iova,
      count: left.length,
      proof: proofOf(...left.slice(0, PROOF_ROWS).map(({ mapping }) => mapping.seq), seq),
      explanation: `unmapping ${range(iova, past)} does not fit the mapping of ${range(first.mapping.iova, first.mapping.past)}, ${
        gone ? 'which is unmapped later in the same request' : 'which stays'
      }`,
    });
  }

  unmapWithoutMatch(space: DmaSpace, iova: number, past: number, seq: number, ns: number): void {
    this.#sink.hazard({
      kind: 'unmap_no_match',
      severity: this.#ifSeen('warning'),
      seq,
      ns,
      obj: space.obj,
      iova,
      len: past - iova,
      count: 1,
      proof: [seq],
      explanation: `${range(iova, past)} is unmapped, but nothing is mapped there`,
    });
  }

  mappedTwice(
    space: DmaSpace,
    iova: number,
    past: number,
    replaced: readonly Mapping[],
    seq: number,
    ns: number,
  ): void {
    this.#sink.hazard({
      kind: 'double_mapping',
      severity: this.#ifSeen('error'),
      seq,
      ns,
      obj: space.obj,
      iova,
      len: past - iova,
      count: replaced.length,
      proof: proofOf(...replaced.slice(0, PROOF_ROWS).map((mapping) => mapping.seq), seq),
      explanation: `${range(iova, past)} is mapped although ${counted(replaced.length, 'mapping is', 'mappings are')} there already: an unmap is missing`,
    });
  }

  refusedAsMapped(space: DmaSpace, iova: number, past: number, seq: number, ns: number): void {
    const there = space.overlapping(iova, past);
    this.#walk.work.count(there.length);
    if (there.length === 0) return;
    this.#sink.hazard({
      kind: 'double_mapping',
      severity: 'warning',
      seq,
      ns,
      obj: space.obj,
      iova,
      len: past - iova,
      count: there.length,
      proof: proofOf(...there.slice(0, PROOF_ROWS).map((mapping) => mapping.seq), seq),
      explanation: `the kernel refuses to map ${range(iova, past)}, where ${counted(there.length, 'mapping is', 'mappings are')} already (EEXIST)`,
    });
  }

  /** The same guest memory is at another iova of the same address space too, and one of the two is where memory usually is: at its gpa. */
  mappedElsewhere(space: DmaSpace, mapping: Mapping, others: readonly Mapping[]): void {
    const odd = others.filter(
      (other) => (other.iova === other.place.at) !== (mapping.iova === mapping.place.at) && other.seq !== mapping.seq,
    );
    const first = odd[0];
    if (!first) return;
    this.#sink.hazard({
      kind: 'double_mapping',
      severity: 'warning',
      seq: mapping.seq,
      ns: mapping.ns,
      vm: mapping.place.space,
      obj: space.obj,
      gpa: first.place.at,
      iova: mapping.iova,
      len: first.past - first.iova,
      proof: proofOf(...odd.slice(0, PROOF_ROWS).map(({ seq }) => seq), mapping.seq),
      explanation: `guest memory at ${hex(first.place.at)} is mapped at iova ${hex(mapping.iova)}, and at ${hex(first.iova)} already`,
    });
  }

  mappedWhilePrivate(space: DmaSpace, mapping: Mapping, { vm, gpa, past }: GuestRange, seq: number, ns: number): void {
    if (space.setUp.has(mapping.seq) && this.#walk.slots.holdsWholeSlot(vm, gpa, past)) {
      this.#countStatic(space, mapping, false, seq, ns);
      return;
    }
    this.#sink.hazard({
      kind: 'mapped_while_private',
      severity: 'warning',
      seq: mapping.seq,
      ns: mapping.ns,
      vm,
      obj: space.obj,
      gpa,
      iova: mapping.iova,
      len: past - gpa,
      count: 1,
      proof: [mapping.seq],
      explanation: `${range(gpa, past)} is mapped for devices while it is private`,
    });
  }

  /** Whether pages of the request are private and mapped still. */
  #stale(request: Request): boolean {
    const { vm, changed } = request;
    const { dma } = this.#walk;
    const guest = this.#walk.guest(vm);
    const stale: PlacedMapping[] = [];
    let bytes = 0;
    for (let i = 0; i < changed.length; i += 2) {
      const from = changed[i] as number;
      const to = changed[i + 1] as number;
      if (dma.measure(vm, from, to) === 0 || guest.measureSide(from, to, true) === 0) continue;
      const mappings = dma.mappingsOn(vm, from, to);
      this.#walk.work.count(mappings.length);
      for (const placed of mappings) {
        const { space, mapping } = placed;
        if (mapping.seq > request.seq) continue;
        const [whole] = space.overlapping(mapping.iova, mapping.iova + 1);
        if (!request.inPlace && whole && this.#isStatic(space, whole, vm, from)) {
          if (request.mappedDiscards.length === 0) this.#countStatic(space, whole, true, request.seq, request.ns);
          continue;
        }
        bytes += mapping.past - mapping.iova;
        stale.push(placed);
      }
    }
    const first = stale[0];
    if (!first) return false;
    this.#sink.hazard({
      kind: 'stale_mapping',
      severity: 'error',
      seq: request.seq,
      ns: request.ns,
      vm,
      obj: first.space.obj,
      gpa: first.gpa,
      iova: first.mapping.iova,
      len: bytes,
      count: stale.length,
      proof: proofOf(...stale.slice(0, PROOF_ROWS).map(({ mapping }) => mapping.seq), request.seq),
      explanation: `${size(bytes)} are private when the request is done, and a device can reach them still${
        request.mappedDiscards.length > 0 ? '; what it reaches was given back' : ''
      }`,
    });
    return true;
  }

  /** Whether a mapping was made once for a whole slot, not to follow conversions. */
  #isStatic(space: DmaSpace, { seq, iova, past, place }: Mapping, vm: number, gpa: number): boolean {
    if (!space.setUp.has(seq)) return false;
    const { slots } = this.#walk;
    if (place.kind === 'gpa') return slots.holdsWholeSlot(vm, place.at, place.at + past - iova);
    if (place.kind !== 'hva') return false;
    let holds = false;
    slots.ofHva(place.space, place.at, place.at + past - iova, (owner, from, to) => {
      holds ||= owner === vm && from <= gpa && gpa < to && slots.holdsWholeSlot(owner, from, to);
    });
    return holds;
  }

  #countStatic(space: DmaSpace, mapping: Mapping, isPrivateNow: boolean, seq: number, ns: number): void {
    const key = `${space.api}:${space.obj}:${mapping.seq}`;
    let found = this.#static.get(key);
    if (!found) this.#static.set(key, (found = { space, mapping, seq, ns, requests: 0 }));
    if (isPrivateNow) found.requests++;
  }

  #tellStatic({ space, mapping, seq, ns, requests }: StaticMapping): void {
    const { place } = mapping;
    this.#sink.hazard({
      kind: 'mapped_while_private',
      severity: 'note',
      seq,
      ns,
      obj: space.obj,
      ...(place.kind === 'gpa' && { vm: place.space, gpa: place.at }),
      iova: mapping.iova,
      len: mapping.past - mapping.iova,
      count: requests,
      proof: proofOf(mapping.seq, seq),
      explanation: `${range(mapping.iova, mapping.past)} is mapped as a whole and stays so while parts of it are private: devices reach the shared copy, which is never given back`,
    });
  }

  #privateMaps(request: Request): void {
    for (const { space, mapping, range: place } of request.privateMaps) {
      if (this.#walk.guest(place.vm).measureSide(place.gpa, place.past, true) === 0) continue;
      if (isLive({ space, mapping })) this.mappedWhilePrivate(space, mapping, place, request.seq, request.ns);
    }
  }

  #checkDoublyHeld(seq: number, ns: number): void {
    const { doublyHeld } = this.#walk.totals;
    const set = this.#walk.facts.limits.doublyHeldBytes;
    if (doublyHeld <= (set ?? LEAST_DOUBLY_HELD)) return;
    if (set === null && doublyHeld <= this.#walk.guestBytes() / 4) return;
    if (!this.#doublyHeld) this.#doublyHeld = { seq, ns, peak: doublyHeld, peakSeq: seq };
    else if (doublyHeld > this.#doublyHeld.peak) {
      this.#doublyHeld.peak = doublyHeld;
      this.#doublyHeld.peakSeq = seq;
    }
  }

  #tellDoublyHeld({ seq, ns, peak, peakSeq }: DoublyHeld): void {
    this.#sink.hazard({
      kind: 'doubly_held',
      severity: 'warning',
      seq,
      ns,
      len: peak,
      count: 1,
      proof: proofOf(seq, peakSeq),
      explanation: `${size(peak)} are held on both sides at row ${peakSeq}, more than the limit`,
    });
  }

  /** What may come of lost rows is no more than a note. */
  #ifSeen(severity: Severity): Severity {
    return this.#walk.lost ? 'note' : severity;
  }
}

function unmapAfter({ unmaps }: Request, { seq, mappings }: MappedDiscard): number {
  const found = unmaps.find(
    (unmap) =>
      unmap.seq > seq &&
      mappings.some(
        ({ space, mapping }) => space === unmap.space && mapping.iova < unmap.past && unmap.iova < mapping.past,
      ),
  );
  return found?.seq ?? -1;
}

function isLive({ space, mapping }: OwnedMapping): boolean {
  return space.overlapping(mapping.iova, mapping.past).some(({ seq }) => seq === mapping.seq);
}
