/**
 * The DMA mappings of one container or IOAS, by the rules of the kernel: type1v2 (drivers/vfio/vfio_iommu_type1.c, vfio_dma_do_map and
 * vfio_dma_do_unmap) and iommufd (drivers/iommu/iommufd/io_pagetable.c, iopt_unmap_iova_range; vfio_compat.c). An answer that is in the trace counts
 * more than the rule: the trace may have lost what was before.
 */
import { RangeList } from './range-list.ts';

export type DmaApi = 'type1' | 'iommufd' | 'vfio-user' | 'listener' | 'kernel';

export type EndedBy = 'unmap' | 'unmap_all' | 'cut' | 'close' | 'replaced';

/** Where a mapping's memory is: an address in a guest or in a process. */
export interface Place {
  readonly kind: 'gpa' | 'hva' | 'none';
  /** VM or process. */
  readonly space: number;
  /** First byte. */
  readonly at: number;
}

/** A mapping, or the part of it that is meant. */
export interface Mapping {
  readonly iova: number;
  readonly past: number;
  readonly seq: number;
  readonly ns: number;
  readonly place: Place;
  /** It is a part: the rest is mapped still. */
  readonly cut?: boolean;
}

/** What an unmap did. */
export interface Unmapped {
  readonly ended: readonly Mapping[];
  /** Parts of its range that are mapped still. */
  readonly left: readonly Mapping[];
}

const NO_PLACE: Place = { kind: 'none', space: -1, at: -1 };

const ENOENT = 2;

export class DmaSpace {
  readonly api: DmaApi;
  readonly obj: number;
  /** Calls that mapped. */
  maps = 0;
  /** Most mappings by dma_entry_limit as the trace says; -1 if it does not. */
  limit = -1;
  /** Whether its mappings pin their memory: those of an IOAS only when something is attached. */
  pins: boolean;
  /** Made outside any request, by its first row. */
  readonly setUp = new Set<number>();
  /** By iova; value: index of the place's kind and space, extra: what to add for the address there. */
  readonly #mappings = new RangeList();
  /** The same by place; extra: what to add for the iova. Of two mappings of the same memory the later one. */
  readonly #byPlace = new Map<string, RangeList>();
  readonly #spaces: { kind: Place['kind']; space: number }[] = [NO_PLACE];
  readonly #spaceIndex = new Map<string, number>([['none:-1', 0]]);

  constructor(api: DmaApi, obj: number, pins: boolean) {
    this.api = api;
    this.obj = obj;
    this.pins = pins;
  }

  /** Mappings that are live. */
  get count(): number {
    return this.#mappings.pieces;
  }

  get bytes(): number {
    return this.#mappings.bytes;
  }

  /** Maps; what it replaces (an unmap that the trace does not have) is returned. */
  map(iova: number, past: number, place: Place, seq: number, ns: number): Mapping[] {
    this.maps++;
    const replaced = this.overlapping(iova, past).length > 0 ? this.#remove(iova, past) : [];
    const index = this.#indexOf(place);
    this.#mappings.set(iova, past, index, seq, ns, place.at - iova);
    if (place.kind !== 'none')
      this.#placeList(place).set(place.at, place.at + past - iova, 0, seq, ns, iova - place.at);
    return replaced;
  }

  /** Mappings that [iova, past) touches, whole. */
  overlapping(iova: number, past: number): Mapping[] {
    const found: Mapping[] = [];
    this.#mappings.forEach(iova, past, (from) => {
      this.#mappings.at(from, (...piece) => found.push(this.#mapping(...piece)));
    });
    return found;
  }

  isMapped(iova: number): boolean {
    return this.#mappings.at(iova, () => undefined);
  }

  /** Mappings of the memory at a place, cut to it; at most `limit`. */
  ofPlace(kind: Place['kind'], space: number, at: number, past: number, limit = Infinity): Mapping[] {
    const found: Mapping[] = [];
    this.#byPlace.get(`${kind}:${space}`)?.forEach(at, past, (from, to, _value, seq, ns, toIova) => {
      found.push({ iova: from + toIova, past: to + toIova, seq, ns, place: { kind, space, at: from } });
      return found.length < limit;
    });
    return found;
  }

  /** @param result bytes that the kernel says went; NaN if the trace does not say */
  unmap(iova: number, past: number, errno: number, result: number): Unmapped {
    const touched = this.overlapping(iova, past);
    if (touched.length === 0) return { ended: [], left: [] };
    const inside = (mapping: Mapping): boolean => mapping.iova >= iova && mapping.past <= past;
    if (errno !== 0) {
      // iommufd walks upwards and gives up at the first that does not fit; type1 looks at both edges first.
      const misfit = errno === ENOENT && this.api === 'iommufd' ? touched.findIndex((mapping) => !inside(mapping)) : 0;
      const gone = misfit < 0 ? [] : touched.slice(0, misfit);
      for (const mapping of gone) this.#remove(mapping.iova, mapping.past);
      return { ended: gone, left: misfit < 0 ? touched : touched.slice(misfit) };
    }
    const whole = touched.filter(inside);
    const cut = touched.filter((mapping) => !inside(mapping));
    const wholeBytes = whole.reduce((sum, mapping) => sum + mapping.past - mapping.iova, 0);
    if (cut.length > 0 && !Number.isNaN(result) && result <= wholeBytes) {
      // Type1 of the first version: what does not fit stays, and that is no error.
      for (const mapping of whole) this.#remove(mapping.iova, mapping.past);
      return { ended: whole, left: cut };
    }
    const ended = this.#remove(iova, past).map((mapping) =>
      cut.some(({ seq, iova: from, past: to }) => seq === mapping.seq && from <= mapping.iova && to >= mapping.past)
        ? { ...mapping, cut: true }
        : mapping,
    );
    return { ended, left: [] };
  }

  /** Ends all. */
  clear(): Mapping[] {
    return this.#remove(0, Infinity);
  }

  *live(): Generator<Mapping> {
    const all: Mapping[] = [];
    this.#mappings.forEach(0, Infinity, (...piece) => {
      all.push(this.#mapping(...piece));
    });
    yield* all;
  }

  /** Takes [iova, past) away; the parts that were mapped. */
  #remove(iova: number, past: number): Mapping[] {
    const removed: Mapping[] = [];
    this.#mappings.clear(iova, past, (...piece) => removed.push(this.#mapping(...piece)));
    for (const { place, iova: from, past: to, seq } of removed) {
      if (place.kind === 'none') continue;
      const list = this.#placeList(place);
      const own: number[] = [];
      list.forEach(place.at, place.at + to - from, (start, end, _value, pieceSeq) => {
        if (pieceSeq === seq) own.push(start, end);
      });
      for (let i = 0; i < own.length; i += 2) list.clear(own[i] as number, own[i + 1] as number);
    }
    return removed;
  }

  #mapping(iova: number, past: number, value: number, seq: number, ns: number, toPlace: number): Mapping {
    const { kind, space } = this.#spaces[value] ?? NO_PLACE;
    return { iova, past, seq, ns, place: kind === 'none' ? NO_PLACE : { kind, space, at: iova + toPlace } };
  }

  #indexOf({ kind, space }: Place): number {
    const key = `${kind}:${space}`;
    let index = this.#spaceIndex.get(key);
    if (index === undefined) {
      index = this.#spaces.push({ kind, space }) - 1;
      this.#spaceIndex.set(key, index);
    }
    return index;
  }

  #placeList({ kind, space }: Place): RangeList {
    const key = `${kind}:${space}`;
    let list = this.#byPlace.get(key);
    if (!list) this.#byPlace.set(key, (list = new RangeList()));
    return list;
  }
}
