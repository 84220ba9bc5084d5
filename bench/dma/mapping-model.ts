/**
 * The rules by which the DMA interfaces map and unmap, to hold the kernel's answers against: drivers/vfio/vfio_iommu_type1.c (vfio_dma_do_map,
 * vfio_dma_do_unmap) and drivers/iommu/iommufd (io_pagetable.c, vfio_compat.c).
 */
import type { DmaInterface } from '../../capture/dma/target.ts';
import { RangeMap } from '../range-map.ts';

/** `iommufd-cut` is the compatibility mode with large pages off, the only one that can divide a mapping. */
export type MappingRules = 'type1' | 'iommufd' | 'iommufd-compat' | 'iommufd-cut';

/** The rules of an interface as cvmtrace opens it: VFIO as type1v2, the compatibility mode with large pages. */
export function rulesOf(dma: DmaInterface): MappingRules {
  return dma === 'mock' ? 'iommufd' : dma;
}

/** errno's name, '' for success, and the bytes that are gone: also where the call failed. */
export interface Answer {
  readonly errno: string;
  readonly bytes: number;
}

interface Mapping {
  readonly start: number;
  /** exclusive */
  readonly end: number;
}

/** The mappings of one I/O address space, as the rules leave them. */
export class MappingModel {
  readonly #rules: MappingRules;
  readonly #limit: number;
  readonly #mappings = new RangeMap<Mapping>();
  #mappedBytes = 0;
  #peak = 0;

  /** @param limit most mappings at a time, as dma_entry_limit of type1 */
  constructor(rules: MappingRules, limit = Infinity) {
    this.#rules = rules;
    this.#limit = limit;
  }

  get count(): number {
    return this.#mappings.size;
  }

  /** Most mappings at a time. */
  get peak(): number {
    return this.#peak;
  }

  get mappedBytes(): number {
    return this.#mappedBytes;
  }

  /** Bytes of the mapping that has this address; 0 if none has. */
  sizeAt(address: number): number {
    const [mapping] = this.#overlapping(address, address + 1);
    return mapping ? mapping.end - mapping.start : 0;
  }

  map(start: number, len: number): Answer {
    if (this.#overlapping(start, start + len).length > 0) return { errno: 'EEXIST', bytes: 0 };
    if (this.count >= this.#limit) return { errno: 'ENOSPC', bytes: 0 };
    this.#add({ start, end: start + len });
    this.#peak = Math.max(this.#peak, this.count);
    return { errno: '', bytes: len };
  }

  unmap(start: number, len: number): Answer {
    const end = start + len;
    const found = this.#overlapping(start, end);
    switch (this.#rules) {
      case 'type1':
        // Both edges are looked at before anything goes.
        if (found.some((mapping) => mapping.start < start || mapping.end > end)) return { errno: 'EINVAL', bytes: 0 };
        return { errno: '', bytes: this.#removeAll(found) };
      case 'iommufd':
        if (found.length === 0) return { errno: 'ENOENT', bytes: 0 };
        return this.#removeUntilMisfit(found, start, end);
      case 'iommufd-compat':
        return this.#removeUntilMisfit(found, start, end);
      case 'iommufd-cut': {
        const rest: Mapping[] = [];
        for (const mapping of found) {
          if (mapping.start < start) rest.push({ start: mapping.start, end: start });
          if (mapping.end > end) rest.push({ start: end, end: mapping.end });
        }
        const bytes = this.#removeAll(found);
        for (const mapping of rest) this.#add(mapping);
        return { errno: '', bytes: bytes - rest.reduce((sum, mapping) => sum + mapping.end - mapping.start, 0) };
      }
    }
  }

  /** Unmaps everything; the bytes. */
  clear(): number {
    return this.#removeAll(Array.from(this.#mappings, (range) => range.value));
  }

  /** One after the other: what was before the first that does not fit is gone. */
  #removeUntilMisfit(found: readonly Mapping[], start: number, end: number): Answer {
    const misfit = found.findIndex((mapping) => mapping.start < start || mapping.end > end);
    if (misfit < 0) return { errno: '', bytes: this.#removeAll(found) };
    return { errno: 'ENOENT', bytes: this.#removeAll(found.slice(0, misfit)) };
  }

  /** In address order. */
  #overlapping(start: number, end: number): Mapping[] {
    return [...this.#mappings.parts(start, end)].flatMap((part) => part.value ?? []);
  }

  #add(mapping: Mapping): void {
    this.#mappings.assign(mapping.start, mapping.end, mapping);
    this.#mappedBytes += mapping.end - mapping.start;
  }

  /** @param mappings in address order, and all that there are from the first to the last */
  #removeAll(mappings: readonly Mapping[]): number {
    const [first] = mappings;
    const last = mappings.at(-1);
    if (!first || !last) return 0;
    const bytes = mappings.reduce((sum, mapping) => sum + mapping.end - mapping.start, 0);
    this.#mappings.delete(first.start, last.end);
    this.#mappedBytes -= bytes;
    return bytes;
  }
}
