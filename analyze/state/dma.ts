/** All DMA mappings of a trace: their address spaces, which guest memory they are on, and what they add up to. */
import { Cover } from './cover.ts';
import { DmaSpace, type DmaApi, type EndedBy, type Mapping, type Place, type Unmapped } from './dma-space.ts';
import type { StateSink } from './sink.ts';
import type { Slots } from './slots.ts';

/** What lies on the memory of a VM or a process. */
interface Covers {
  readonly mapped: Cover;
  readonly pinned: Cover;
}

/** A mapping with the address space that it is in. */
export interface OwnedMapping {
  readonly space: DmaSpace;
  readonly mapping: Mapping;
}

export interface PlacedMapping extends OwnedMapping {
  /** Where its memory is in the guest. */
  readonly gpa: number;
}

export class Dma {
  /** Sums over containers and IOAS: memory that two of them map counts twice in `mapped`, once in `pinned`. */
  readonly totals = { mapped: 0, pinned: 0, mappings: 0 };
  readonly #spaces = new Map<string, DmaSpace>();
  readonly #covers = new Map<string, Covers>();
  readonly #slots: Slots;
  readonly #sink: StateSink;
  /** Whether the trace says what is attached to an IOAS, and whether something has been. */
  readonly #showsAttach: boolean;
  #attached = false;

  constructor(slots: Slots, sink: StateSink, showsAttach: boolean) {
    this.#slots = slots;
    this.#sink = sink;
    this.#showsAttach = showsAttach;
  }

  get spaces(): Iterable<DmaSpace> {
    return this.#spaces.values();
  }

  space(api: DmaApi, obj: number): DmaSpace {
    const key = `${api}:${obj}`;
    let space = this.#spaces.get(key);
    if (!space) {
      const pins = api === 'type1' || (api === 'iommufd' && (this.#attached || !this.#showsAttach));
      this.#spaces.set(key, (space = new DmaSpace(api, obj, pins)));
    }
    return space;
  }

  /** The address spaces of an object that is closed. */
  spacesOf(obj: number): DmaSpace[] {
    return (['type1', 'iommufd', 'vfio-user', 'listener'] as const).flatMap(
      (api) => this.#spaces.get(`${api}:${obj}`) ?? [],
    );
  }

  /** Maps; what was there already (an unmap that the trace does not have) is returned. */
  map(space: DmaSpace, iova: number, past: number, place: Place, seq: number, ns: number): Mapping[] {
    return this.#counted(space, () => {
      const replaced = space.map(iova, past, place, seq, ns);
      this.#ended(space, replaced, 'replaced', seq, ns);
      this.#count(space, past - iova, 1, place);
      return replaced;
    });
  }

  /** @param result bytes that the kernel says went; NaN if unknown */
  unmap(space: DmaSpace, iova: number, past: number, errno: number, result: number, seq: number, ns: number): Unmapped {
    return this.#counted(space, () => {
      const unmapped = space.unmap(iova, past, errno, result);
      for (const mapping of unmapped.ended) this.#ended(space, [mapping], mapping.cut ? 'cut' : 'unmap', seq, ns);
      return unmapped;
    });
  }

  /** Ends all of an address space. */
  clear(space: DmaSpace, by: 'unmap_all' | 'close', seq: number, ns: number): Mapping[] {
    return this.#counted(space, () => {
      const gone = space.clear();
      this.#ended(space, gone, by, seq, ns);
      return gone;
    });
  }

  /** The trace is over: what is live is told. */
  end(): void {
    for (const space of this.#spaces.values()) this.#ended(space, [...space.live()], undefined, -1, -1);
  }

  #counted<T>(space: DmaSpace, change: () => T): T {
    const before = space.count;
    const result = change();
    if (isReal(space.api)) this.totals.mappings += space.count - before;
    return result;
  }

  /** Accounts for mappings that an address space has given up; those that live on at the end of the trace have no `by`. */
  #ended(space: DmaSpace, mappings: readonly Mapping[], by: EndedBy | undefined, seq: number, ns: number): void {
    for (const mapping of mappings) {
      const { iova, past, place } = mapping;
      if (by !== undefined) this.#count(space, past - iova, -1, place);
      const gpa =
        place.kind === 'gpa'
          ? place.at
          : place.kind === 'hva'
            ? this.#slots.gpaSince(place.space, place.at, mapping.seq)
            : -1;
      const hva = place.kind === 'hva' ? place.at : -1;
      this.#sink.mapping(
        space.api,
        space.obj,
        iova,
        past,
        gpa,
        hva,
        { fromSeq: mapping.seq, fromNs: mapping.ns, pastSeq: seq, pastNs: ns },
        by,
      );
    }
  }

  /** Something is attached: the mappings of every IOAS pin their memory from now on. */
  attach(): void {
    if (this.#attached) return;
    this.#attached = true;
    for (const space of this.#spaces.values()) {
      if (space.api !== 'iommufd' || space.pins) continue;
      space.pins = true;
      for (const { iova, past, place } of space.live()) {
        if (place.kind !== 'none') this.#pin(this.#coversOf(place), place.at, place.at + past - iova, 1);
      }
    }
  }

  /** Bytes of guest memory that a device reaches. */
  measure(vm: number, gpa: number, past: number): number {
    if (this.totals.mappings === 0) return 0;
    let bytes = this.#covers.get(`gpa:${vm}`)?.mapped.measure(gpa, past) ?? 0;
    this.#slots.hvaOf(vm, gpa, past, (pid, hva, hvaPast) => {
      bytes += this.#covers.get(`hva:${pid}`)?.mapped.measure(hva, hvaPast) ?? 0;
    });
    return bytes;
  }

  /** Mappings on guest memory, cut to it. */
  mappingsOn(vm: number, gpa: number, past: number): PlacedMapping[] {
    const found: PlacedMapping[] = [];
    for (const space of this.#spaces.values()) {
      if (!isReal(space.api)) continue;
      for (const mapping of space.ofPlace('gpa', vm, gpa, past)) found.push({ space, mapping, gpa: mapping.place.at });
      this.#slots.hvaOf(vm, gpa, past, (pid, hva, hvaPast, from) => {
        for (const mapping of space.ofPlace('hva', pid, hva, hvaPast))
          found.push({ space, mapping, gpa: from + mapping.place.at - hva });
      });
    }
    return found;
  }

  /** Visits memory of a process that is mapped for DMA. */
  forEachMappedHva(pid: number, hva: number, past: number, visit: (hva: number, past: number) => void): void {
    this.#covers.get(`hva:${pid}`)?.mapped.forEach(hva, past, visit);
  }

  #count(space: DmaSpace, bytes: number, by: 1 | -1, place: Place): void {
    if (!isReal(space.api)) return;
    this.totals.mapped += by * bytes;
    if (place.kind === 'none') return;
    const covers = this.#coversOf(place);
    if (by > 0) covers.mapped.add(place.at, place.at + bytes);
    else covers.mapped.remove(place.at, place.at + bytes);
    if (space.pins) this.#pin(covers, place.at, place.at + bytes, by);
  }

  #pin({ pinned }: Covers, start: number, end: number, by: 1 | -1): void {
    this.totals.pinned -= pinned.bytes;
    if (by > 0) pinned.add(start, end);
    else pinned.remove(start, end);
    this.totals.pinned += pinned.bytes;
  }

  #coversOf({ kind, space }: Place): Covers {
    const key = `${kind}:${space}`;
    let covers = this.#covers.get(key);
    if (!covers) this.#covers.set(key, (covers = { mapped: new Cover(), pinned: new Cover() }));
    return covers;
  }
}

/** Whether a device can reach memory through it: QEMU's listener only says what is to be mapped, the kernel's events are about the same mappings. */
export function isReal(api: DmaApi): boolean {
  return api === 'type1' || api === 'iommufd' || api === 'vfio-user';
}
