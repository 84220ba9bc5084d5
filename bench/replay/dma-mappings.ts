import { type ExecutedBatch, OPS, type OpName } from '../../native/index.ts';
import { RangeMap } from '../range-map.ts';

const MAPS: ReadonlySet<OpName> = new Set(['vfio_map_dma', 'iommufd_ioas_map', 'iommufd_ioas_map_file']);
const UNMAPS: ReadonlySet<OpName> = new Set(['vfio_unmap_dma', 'iommufd_ioas_unmap']);

/**
 * Mappings for DMA that live, computed from the rows of one address space by the rules of its interface (uapi of VFIO and iommufd): each map is one
 * entry, however many pages it has; an unmap takes all entries inside its range; one that fails takes none in VFIO type1, and in iommufd
 * those before the entry that does not fit.
 */
export class DmaMappings {
  readonly #entries = new RangeMap<number>();
  #next = 0;
  #live = 0;
  #peak = 0;
  #bytes = 0;

  get peak(): number {
    return this.#peak;
  }

  /** Entries and bytes that are mapped now. */
  get live(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#live, bytes: this.#bytes };
  }

  applyRows({ rows, op, errno, columns }: ExecutedBatch): void {
    for (let row = 0; row < rows; row++) {
      const name = OPS[op[row] ?? 0] ?? 'mark';
      const start = Number(columns.iova[row]);
      const end = start + Number(columns.len[row]);
      if (MAPS.has(name) && errno[row] === 0) this.#map(start, end);
      else if (UNMAPS.has(name)) this.#unmap(start, end, errno[row] === 0, name === 'iommufd_ioas_unmap');
    }
  }

  #map(start: number, end: number): void {
    this.#entries.assign(start, end, this.#next++);
    this.#live++;
    this.#bytes += end - start;
    this.#peak = Math.max(this.#peak, this.#live);
  }

  #unmap(start: number, end: number, done: boolean, iommufd: boolean): void {
    if (!done && !iommufd) return;
    // One page more on each side shows whether an entry sticks out.
    const inside = new Map<number, { start: number; end: number }>();
    const outside = new Set<number>();
    for (const part of this.#entries.parts(Math.max(0, start - 1), end + 1)) {
      if (part.value === undefined) continue;
      if (part.start < start || part.end > end) outside.add(part.value);
      else inside.set(part.value, part);
    }
    for (const part of [...this.#entries.parts(start, end)]) {
      if (part.value === undefined) continue;
      if (outside.has(part.value)) {
        if (!done) return;
        continue;
      }
      const entry = inside.get(part.value);
      if (!entry) continue;
      this.#entries.delete(entry.start, entry.end);
      this.#live--;
      this.#bytes -= entry.end - entry.start;
    }
  }
}
