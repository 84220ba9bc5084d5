/**
 * The rules by which the DMA interfaces map and unmap, to hold the kernel's answers against: drivers/vfio/vfio_iommu_type1.c (vfio_dma_do_map,
 * vfio_dma_do_unmap) and drivers/iommu/iommufd (io_pagetable.c, vfio_compat.c).
 */
import { PAGE_BYTES } from '../../capture/request.ts';

/** `iommufd-cut` is the compatibility mode with large pages off, the only one that can divide a mapping. */
export type MappingRules = 'type1' | 'iommufd' | 'iommufd-compat' | 'iommufd-cut';

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
  /** By the page where each begins. */
  readonly #byStart = new Map<number, Mapping>();
  /** The mapping that has a page, by the page. */
  readonly #byPage = new Map<number, Mapping>();
  #mappedBytes = 0;
  #peak = 0;

  /** @param limit most mappings at a time, as dma_entry_limit of type1 */
  constructor(rules: MappingRules, limit = Infinity) {
    this.#rules = rules;
    this.#limit = limit;
  }

  get count(): number {
    return this.#byStart.size;
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
    const mapping = this.#byPage.get(address / PAGE_BYTES);
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
    return this.#removeAll([...this.#byStart.values()]);
  }

  /** One after the other: what was before the first that does not fit is gone. */
  #removeUntilMisfit(found: readonly Mapping[], start: number, end: number): Answer {
    const misfit = found.findIndex((mapping) => mapping.start < start || mapping.end > end);
    if (misfit < 0) return { errno: '', bytes: this.#removeAll(found) };
    return { errno: 'ENOENT', bytes: this.#removeAll(found.slice(0, misfit)) };
  }

  /** In address order. */
  #overlapping(start: number, end: number): Mapping[] {
    const found: Mapping[] = [];
    for (let at = start; at < end;) {
      const mapping = this.#byPage.get(at / PAGE_BYTES);
      if (mapping) found.push(mapping);
      at = mapping ? mapping.end : at + PAGE_BYTES;
    }
    return found;
  }

  #add(mapping: Mapping): void {
    this.#byStart.set(mapping.start, mapping);
    for (let at = mapping.start; at < mapping.end; at += PAGE_BYTES) this.#byPage.set(at / PAGE_BYTES, mapping);
    this.#mappedBytes += mapping.end - mapping.start;
  }

  #removeAll(mappings: readonly Mapping[]): number {
    let bytes = 0;
    for (const mapping of mappings) {
      this.#byStart.delete(mapping.start);
      for (let at = mapping.start; at < mapping.end; at += PAGE_BYTES) this.#byPage.delete(at / PAGE_BYTES);
      bytes += mapping.end - mapping.start;
    }
    this.#mappedBytes -= bytes;
    return bytes;
  }
}
