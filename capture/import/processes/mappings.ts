/** Shared mappings that a process is remembered to have; those of a VMM are a few per memory slot. */
const MAX_MAPPINGS = 4096;

export interface Mapping {
  /** Addresses [start, end) as doubles: exact, as they are multiples of the page size. */
  readonly start: number;
  readonly end: number;
  /** Of the file's object. */
  readonly object: number;
  /** In the file, at `start`. */
  readonly offset: number;
}

/** Where a process has mapped files that guest memory lies in. */
export class Mappings {
  #list: Mapping[];

  constructor(parent?: Mappings) {
    this.#list = parent ? [...parent.#list] : [];
  }

  add(mapping: Mapping): void {
    this.remove(mapping.start, mapping.end);
    if (this.#list.length < MAX_MAPPINGS) this.#list.push(mapping);
  }

  /** The first mapping that has a part in [start, end). */
  find(start: number, end: number): Mapping | undefined {
    return this.#list.find((mapping) => mapping.start < end && start < mapping.end);
  }

  /** The parts of mappings that lie in [start, end), by address. */
  within(start: number, end: number): readonly Mapping[] {
    if (!this.find(start, end)) return [];
    return this.#list
      .filter((mapping) => mapping.start < end && start < mapping.end)
      .map((mapping) => clip(mapping, Math.max(start, mapping.start), Math.min(end, mapping.end)))
      .sort((a, b) => a.start - b.start);
  }

  /** Takes [start, end) out; what is left of a mapping on either side stays. */
  remove(start: number, end: number): void {
    if (!this.find(start, end)) return;
    this.#list = this.#list.flatMap((mapping) => {
      if (mapping.end <= start || end <= mapping.start) return [mapping];
      const left = mapping.start < start ? [clip(mapping, mapping.start, start)] : [];
      const right = end < mapping.end ? [clip(mapping, end, mapping.end)] : [];
      return [...left, ...right];
    });
  }

  clear(): void {
    this.#list = [];
  }
}

function clip(mapping: Mapping, start: number, end: number): Mapping {
  return { ...mapping, start, end, offset: mapping.offset + start - mapping.start };
}
