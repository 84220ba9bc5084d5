/** The calls of a VMM that map and unmap memory for devices. */
import { isReal } from './dma.ts';
import type { DmaApi, DmaSpace, Place } from './dma-space.ts';
import type { Judge } from './judge.ts';
import type { KernelMappings } from './kernel-mappings.ts';
import { pastOf, type Places } from './places.ts';
import { failedCall, madeGood, type GuestRange, type Request } from './request.ts';
import type { StateRow } from './state-row.ts';
import type { VaddrWindows } from './vaddr-windows.ts';
import type { Walk } from './walk.ts';

/** VFIO_DMA_MAP_FLAG_VADDR and VFIO_DMA_UNMAP_FLAG_VADDR, of type1 only. */
const VADDR = 4;
const UNMAP_ALL = 2;
const ENOENT = 2;
const EEXIST = 17;
const ENOSPC = 28;
/** DMA_AVAIL of the compatibility mode: no limit. */
const NO_LIMIT = 2 ** 32 - 1;

export class DmaCalls {
  readonly #walk: Walk;
  readonly #places: Places;
  readonly #judge: Judge;
  readonly #windows: VaddrWindows;
  readonly #kernel: KernelMappings;
  readonly #iommufds = new Set<number>();
  /** Containers and IOASes whose making the trace has. */
  readonly #made = new Set<number>();

  constructor(walk: Walk, places: Places, judge: Judge, windows: VaddrWindows, kernel: KernelMappings) {
    this.#walk = walk;
    this.#places = places;
    this.#judge = judge;
    this.#windows = windows;
    this.#kernel = kernel;
  }

  made(obj: number): void {
    this.#made.add(obj);
  }

  openedIommufd(obj: number): void {
    this.#iommufds.add(obj);
  }

  /** Whether this was the only iommufd. */
  closedLastIommufd(obj: number): boolean {
    return this.#iommufds.delete(obj) && this.#iommufds.size === 0;
  }

  map(row: StateRow, request: Request | undefined): void {
    const api = apiOf(row.op);
    const space = this.#space(api, row.obj);
    const iova = api === 'listener' ? Math.max(row.iova, row.gpa) : row.iova;
    const past = pastOf(iova, row.len);
    if (iova < 0 || !(past > iova)) return;
    if ((row.flags & VADDR) !== 0 && row.flags >= 0 && api === 'type1') {
      if (row.errno === 0) this.#windows.closed(row.obj, iova, past, row.seq, row.ts);
      return;
    }
    const ranges = api === 'listener' ? [] : this.#places.rangesOf(row);
    if (row.errno !== 0) {
      this.#mapFailed(row, request, space, iova, past, ranges);
      return;
    }
    if (request) madeGood(request, 'map', ranges);
    const place = this.#placeOf(row, ranges, space);
    if (api === 'type1') this.#windows.touched(row.obj, iova, past, row.seq, row.ts, 'mapped anew');
    const elsewhere =
      row.gpa >= 0 && place.kind === 'gpa' ? space.ofPlace('gpa', place.space, row.gpa, row.gpa + row.len, 8) : [];
    const replaced = this.#walk.dma.map(space, iova, past, place, row.seq, row.ts);
    if (replaced.length > 0) this.#judge.mappedTwice(space, iova, past, replaced, row.seq, row.ts);
    if (!isReal(api)) return;
    this.#kernel.called(row, iova, past);
    if (request?.isExit !== true) space.setUp.add(row.seq);
    this.#judge.entries.counted(space, row.seq, row.ts);
    const mapping = { iova, past, seq: row.seq, ns: row.ts, place };
    for (const range of ranges) {
      const { vm, gpa, past: end } = range;
      const guest = this.#walk.guest(vm);
      guest.hold(gpa, end, false, row.seq, row.ts);
      if (guest.measureSide(gpa, end, true) === 0) continue;
      if (request) request.privateMaps.push({ space, mapping, range });
      else this.#judge.mappedWhilePrivate(space, mapping, range, row.seq, row.ts);
    }
    if (elsewhere.length > 0)
      this.#judge.mappedElsewhere(
        space,
        mapping,
        elsewhere.filter((other) => other.iova !== iova),
      );
  }

  #mapFailed(
    row: StateRow,
    request: Request | undefined,
    space: DmaSpace,
    iova: number,
    past: number,
    ranges: readonly GuestRange[],
  ): void {
    if (row.errno === ENOSPC && space.api === 'type1') {
      this.#judge.entries.refused(space, row.seq, row.ts);
      // What the request could not do then is a consequence.
      if (request) request.failed.length = 0;
    } else if (row.errno === EEXIST) this.#judge.refusedAsMapped(space, iova, past, row.seq, row.ts);
    else request?.failed.push(failedCall(row, 'map', ranges));
  }

  unmap(row: StateRow, request: Request | undefined): void {
    const api = apiOf(row.op);
    const space = this.#space(api, row.obj);
    const flags = Math.max(0, row.flags);
    const iova = api === 'listener' ? Math.max(row.iova, row.gpa) : row.iova;
    const past = pastOf(iova, row.len);
    const all = api === 'type1' ? (flags & UNMAP_ALL) !== 0 : api === 'iommufd' && iova === 0 && row.len >= 2 ** 64;
    if (api === 'type1' && (flags & VADDR) !== 0) {
      if (row.errno !== 0) return;
      if (all && this.#windows.bytes(row.obj) === space.bytes) return;
      const given = all ? [...space.live()] : iova >= 0 && past > iova ? space.overlapping(iova, past) : [];
      this.#walk.work.count(given.length);
      this.#windows.opened(row.obj, given, row.seq, row.ts);
      return;
    }
    if (all) {
      if (row.errno !== 0) return;
      this.#windows.touched(row.obj, 0, Infinity, row.seq, row.ts, 'unmapped');
      const gone = this.#walk.dma.clear(space, 'unmap_all', row.seq, row.ts);
      this.#kernel.released(space, gone, row);
      return;
    }
    if (iova < 0 || !(past > iova)) return;
    if (api === 'type1' && row.errno === 0) this.#windows.touched(row.obj, iova, past, row.seq, row.ts, 'unmapped');
    request?.unmaps.push({ space, iova, past, seq: row.seq });
    const { ended, left } = this.#walk.dma.unmap(space, iova, past, row.errno, row.result, row.seq, row.ts);
    if (ended.length === 0 && left.length === 0) {
      if (this.#isProvenUnmapped(space, row)) this.#judge.unmapWithoutMatch(space, iova, past, row.seq, row.ts);
      return;
    }
    if (isReal(api)) this.#kernel.released(space, ended, row);
    if (left.length === 0) return;
    const misfit = { seq: row.seq, ns: row.ts, left: left.map((mapping) => ({ space, mapping })), iova, past };
    if (request) request.misfits.push(misfit);
    else this.#judge.leftPiece(misfit, false);
  }

  /** Whether nothing was mapped where the trace shows no mapping: the kernel says so, or the trace has all that was mapped since the beginning. */
  #isProvenUnmapped(space: DmaSpace, { errno, result }: StateRow): boolean {
    if (errno === ENOENT || (errno === 0 && result === 0)) return true;
    const complete = this.#made.has(space.obj) || space.api === 'vfio-user' || space.api === 'listener';
    return errno === 0 && Number.isNaN(result) && complete && space.maps > 0;
  }

  fault(row: StateRow): void {
    if (row.iova < 0) return;
    this.#windows.touched(-1, row.iova, row.iova + 1, row.seq, row.ts, 'accessed by a device');
    for (const space of this.#walk.dma.spaces) if (isReal(space.api) && space.isMapped(row.iova)) return;
    this.#kernel.faulted(row);
  }

  limit(row: StateRow): void {
    if (row.errno !== 0 || Number.isNaN(row.result) || row.result < 0) return;
    const space = this.#space('type1', row.obj);
    space.limit = row.result >= NO_LIMIT ? Infinity : row.result + space.count;
  }

  #space(api: DmaApi, obj: number): DmaSpace {
    const space = this.#walk.dma.space(api, obj);
    if (api === 'type1' && space.limit < 0 && this.#iommufds.has(obj)) space.limit = Infinity;
    return space;
  }

  #placeOf(row: StateRow, ranges: readonly GuestRange[], space: DmaSpace): Place {
    if (row.gpa >= 0 && ranges[0]) return { kind: 'gpa', space: ranges[0].vm, at: row.gpa };
    if (row.hva >= 0) return { kind: 'hva', space: row.pid, at: row.hva };
    // IOMMU_IOAS_COPY takes over what another IOAS has at `offset`.
    if (row.op === 'iommufd_ioas_copy' && row.offset >= 0) {
      for (const other of this.#walk.dma.spaces) {
        if (other.api !== 'iommufd' || other === space) continue;
        const [source] = other.overlapping(row.offset, row.offset + 1);
        if (source && source.place.kind !== 'none')
          return { ...source.place, at: source.place.at + row.offset - source.iova };
      }
    }
    return { kind: 'none', space: -1, at: -1 };
  }
}

function apiOf(op: string): DmaApi {
  if (op.startsWith('vfio_user')) return 'vfio-user';
  if (op.startsWith('vfio_listener')) return 'listener';
  return op.startsWith('iommufd') ? 'iommufd' : 'type1';
}
