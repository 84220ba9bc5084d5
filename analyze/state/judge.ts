/** Says what is wrong: of each request when it is over, of calls outside requests at once. One fault is one finding. */
import type { OwnedMapping, PlacedMapping } from './dma.ts';
import type { DmaSpace, Mapping } from './dma-space.ts';
import { STORM_FLIPS } from './flip-rings.ts';
import { RangeList } from './range-list.ts';
import type { GuestRange, MappedDiscard, Misfit, Request } from './request.ts';
import type { Hazard, Severity, StateSink } from './sink.ts';
import type { Walk } from './walk.ts';
import { counted, hex, range, size } from './words.ts';

/** vfio_iommu_type1.dma_entry_limit if nobody changed it. */
const DEFAULT_ENTRY_LIMIT = 65_535;
const LEAST_DOUBLY_HELD = 64 * 2 ** 20;
const PROOF_ROWS = 8;

/** Memory that a VMM mapped as a whole when it made the VM, and that is private by now. */
interface StaticMapping {
  readonly space: DmaSpace;
  readonly mapping: Mapping;
  readonly seq: number;
  readonly ns: number;
  bytes: number;
  requests: number;
}

interface EntryCount {
  readonly space: DmaSpace;
  readonly seq: number;
  readonly ns: number;
  peak: number;
  peakSeq: number;
  /** A map that was refused. */
  refusedSeq: number;
}

export class Judge {
  readonly #walk: Walk;
  readonly #sink: StateSink;
  readonly #static = new Map<string, StaticMapping>();
  readonly #entries = new Map<DmaSpace, EntryCount>();
  /** Failed requests that may be tried again, by vCPU or thread. */
  readonly #pending = new Map<string, { readonly request: Request; readonly hazard: Hazard }>();
  readonly #storms = new Map<number, RangeList>();
  #doublyHeld: { seq: number; ns: number; peak: number; peakSeq: number } | undefined;

  constructor(walk: Walk, sink: StateSink) {
    this.#walk = walk;
    this.#sink = sink;
  }

  /** A request is over. */
  close(request: Request): void {
    const misfits = request.misfits.length > 0;
    for (const misfit of request.misfits) this.leftPiece(misfit, true);
    const stale = request.toPrivate && !misfits && this.#stale(request);
    if (!stale && !misfits)
      for (const discard of request.mappedDiscards) this.discardedWhileMapped(discard, unmapAfter(request, discard));
    this.#privateMaps(request);
    this.#failures(request);
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
    for (const { hazard } of this.#pending.values()) this.#sink.hazard(hazard);
    for (const found of this.#static.values()) this.#tellStatic(found);
    for (const found of this.#entries.values()) this.#tellEntries(found);
    if (this.#doublyHeld) this.#tellDoublyHeld(this.#doublyHeld);
    for (const [vm, list] of this.#storms) this.#tellStorms(vm, list);
  }

  /** A row outside all requests has changed what is held. */
  held(seq: number, ns: number, inRequest: boolean): void {
    if (!inRequest) this.#checkDoublyHeld(seq, ns);
  }

  stormed(vm: number, gpa: number, past: number, seq: number, ns: number): void {
    let list = this.#storms.get(vm);
    if (!list) this.#storms.set(vm, (list = new RangeList()));
    let flips = STORM_FLIPS;
    list.forEach(gpa, past, (_from, _to, before) => {
      flips = Math.max(flips, before + 1);
    });
    list.set(gpa, past, flips, seq, ns);
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
      proof: [
        ...new Set([...mappings.map(({ mapping }) => mapping.seq), seq, ...(unmapSeq < 0 ? [] : [unmapSeq])]),
      ].sort((a, b) => a - b),
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
      proof: [...left.slice(0, PROOF_ROWS).map(({ mapping }) => mapping.seq), seq].sort((a, b) => a - b),
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
      proof: [...replaced.slice(0, PROOF_ROWS).map((mapping) => mapping.seq), seq].sort((a, b) => a - b),
      explanation: `${range(iova, past)} is mapped although ${counted(replaced.length, 'mapping is', 'mappings are')} there already: an unmap is missing`,
    });
  }

  refusedAsMapped(space: DmaSpace, iova: number, past: number, seq: number, ns: number): void {
    const there = space.overlapping(iova, past, PROOF_ROWS);
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
      proof: [...there.map((mapping) => mapping.seq), seq].sort((a, b) => a - b),
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
      count: odd.length,
      proof: [...odd.slice(0, PROOF_ROWS).map(({ seq }) => seq), mapping.seq].sort((a, b) => a - b),
      explanation: `guest memory at ${hex(first.place.at)} is mapped at iova ${hex(mapping.iova)}, and at ${hex(first.iova)} already`,
    });
  }

  mappedWhilePrivate(space: DmaSpace, mapping: Mapping, { vm, gpa, past }: GuestRange, seq: number, ns: number): void {
    if (space.setUp.has(mapping.seq) && this.#walk.slots.holdsWholeSlot(vm, gpa, past)) {
      this.#countStatic(space, mapping, 0, seq, ns);
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

  refusedForLimit(space: DmaSpace, seq: number, ns: number, request: Request | undefined): void {
    const entries = this.#entriesOf(space, seq, ns);
    if (entries.refusedSeq < 0) entries.refusedSeq = seq;
    // What the request could not do then is a consequence.
    if (request) request.failed.length = 0;
  }

  /** A mapping was made. */
  counted(space: DmaSpace, seq: number, ns: number): void {
    if (space.api !== 'type1') return;
    const limit = limitOf(space);
    if (space.count < this.#walk.facts.limits.dmaEntryShare * limit) return;
    const entries = this.#entriesOf(space, seq, ns);
    if (space.count <= entries.peak) return;
    entries.peak = space.count;
    entries.peakSeq = seq;
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
      for (const placed of dma.mappingsOn(vm, from, to, Infinity)) {
        const { space, mapping } = placed;
        if (mapping.seq > request.seq) continue;
        const [whole] = space.overlapping(mapping.iova, mapping.iova + 1);
        if (!request.inPlace && whole && this.#isStatic(space, whole, vm, from)) {
          if (request.mappedDiscards.length === 0)
            this.#countStatic(space, whole, mapping.past - mapping.iova, request.seq, request.ns);
          continue;
        }
        bytes += mapping.past - mapping.iova;
        if (stale.length < PROOF_ROWS) stale.push(placed);
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
      proof: [...new Set([...stale.map(({ mapping }) => mapping.seq), request.seq])].sort((a, b) => a - b),
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

  #countStatic(space: DmaSpace, mapping: Mapping, bytes: number, seq: number, ns: number): void {
    const key = `${space.api}:${space.obj}:${mapping.seq}`;
    let found = this.#static.get(key);
    if (!found) this.#static.set(key, (found = { space, mapping, seq, ns, bytes: 0, requests: 0 }));
    found.bytes = Math.max(found.bytes, bytes);
    if (bytes > 0) found.requests++;
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
      proof: [...new Set([mapping.seq, seq])].sort((a, b) => a - b),
      explanation: `${range(mapping.iova, mapping.past)} is mapped as a whole and stays so while parts of it are private: devices reach the shared copy, which is never given back`,
    });
  }

  #privateMaps(request: Request): void {
    for (const { space, mapping, range: place } of request.privateMaps) {
      if (this.#walk.guest(place.vm).measureSide(place.gpa, place.past, true) === 0) continue;
      if (isLive({ space, mapping })) this.mappedWhilePrivate(space, mapping, place, request.seq, request.ns);
    }
  }

  #failures(request: Request): void {
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
        proof: [request.seq, discard.seq],
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
      proof: [...new Set([request.seq, seq])].sort((a, b) => a - b),
      explanation,
    };
  }

  #entriesOf(space: DmaSpace, seq: number, ns: number): EntryCount {
    let entries = this.#entries.get(space);
    if (!entries)
      this.#entries.set(space, (entries = { space, seq, ns, peak: space.count, peakSeq: seq, refusedSeq: -1 }));
    return entries;
  }

  #tellEntries({ space, seq, ns, peak, peakSeq, refusedSeq }: EntryCount): void {
    const limit = limitOf(space);
    const over = refusedSeq >= 0 || peak > limit;
    const known = space.limit < 0 ? 'the default dma_entry_limit' : 'its dma_entry_limit';
    this.#sink.hazard({
      kind: 'dma_entry_limit',
      severity: over ? 'error' : 'warning',
      seq: refusedSeq >= 0 ? refusedSeq : seq,
      ns,
      obj: space.obj,
      count: peak,
      proof: [...new Set([seq, peakSeq, ...(refusedSeq >= 0 ? [refusedSeq] : [])])].sort((a, b) => a - b),
      explanation:
        refusedSeq >= 0
          ? `a mapping is refused for want of entries (ENOSPC) at ${counted(peak, 'live mapping')}`
          : `${counted(peak, 'live mapping')} of the ${limit} of ${known}`,
    });
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

  #tellDoublyHeld({ seq, ns, peak, peakSeq }: { seq: number; ns: number; peak: number; peakSeq: number }): void {
    this.#sink.hazard({
      kind: 'doubly_held',
      severity: 'warning',
      seq,
      ns,
      len: peak,
      count: 1,
      proof: [...new Set([seq, peakSeq])],
      explanation: `${size(peak)} are held on both sides at row ${peakSeq}, more than the limit`,
    });
  }

  #tellStorms(vm: number, list: RangeList): void {
    let from = -1;
    let past = -1;
    let flips = 0;
    let seq = -1;
    let ns = -1;
    const tell = (): void => {
      if (from < 0) return;
      this.#sink.hazard({
        kind: 'flip_storm',
        severity: 'warning',
        seq,
        ns,
        vm,
        gpa: from,
        len: past - from,
        count: flips,
        proof: [seq],
        explanation: `${range(from, past)} changes sides again and again, ${flips} times so fast that ${STORM_FLIPS} are within a second`,
      });
    };
    list.forEach(0, Infinity, (start, end, value, at, atNs) => {
      if (start !== past) {
        tell();
        from = start;
        flips = 0;
      }
      past = end;
      if (value <= flips) return;
      flips = value;
      seq = at;
      ns = atNs;
    });
    tell();
  }

  /** What may come of lost rows is no more than a note. */
  #ifSeen(severity: Severity): Severity {
    return this.#walk.lost ? 'note' : severity;
  }
}

function overlap(a: Request, b: Request): boolean {
  return a.vm === b.vm && a.gpa < b.past && b.gpa < a.past;
}

function limitOf(space: DmaSpace): number {
  return space.limit < 0 ? DEFAULT_ENTRY_LIMIT : space.limit;
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
