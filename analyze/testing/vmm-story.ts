/**
 * A VMM as a test tells of it: each method is one call that it makes, and becomes one row. Nothing is checked or corrected on the way: a story may
 * leave a call out or make it in the wrong order, and is then the trace of a VMM with that fault.
 */
import type { InlineRow } from './inline-rows.ts';

export interface StoryOptions {
  /** As cvmtrace's own runs write rows (each with its gpa), or as a recording has them: memory by host address and by offset in its file. */
  readonly shape: 'own' | 'recorded';
  readonly api: 'type1' | 'iommufd';
  /** What is behind the shared side: a file, or anonymous memory, which is given back with madvise. */
  readonly sharedFile?: boolean;
  /** Added to each number of an object, process and thread: for two VMs in one trace. */
  readonly numbersFrom?: number;
  /** Bytes of each of the two slots. */
  readonly slotBytes?: number;
}

/** A row whose author may change it later; its place in the story is its seq. */
export type StoryRow = { -readonly [N in keyof InlineRow]: InlineRow[N] };

/** What a call came to, where it is not what it was made for. */
export type Outcome = Partial<Pick<StoryRow, 'errno' | 'result' | 'len' | 'iova' | 'gpa' | 'hva' | 'flags' | 'obj'>>;

export type Side = 'private' | 'shared';

export const PAGE = 4096;
/** Begin of the upper slot, where neither offset nor host address looks like the gpa. */
export const HIGH = 2 ** 32;

const HVA = 0x7f12_0000_0000;
const FLAG = { gmem: 4, vaddr: 4, unmapAll: 2, type1: 3, iommufd: 7, anonymous: 0, file: 1 } as const;
const MEMORY_PRIVATE = 8;
const MAP_GPA_PRIVATE = 16;
const CALL_NS = 100;
const GAP_NS = 20;

export class VmmStory {
  readonly rows: StoryRow[] = [];
  readonly options: StoryOptions;
  readonly vm: number;
  readonly ram: number;
  readonly gmem: number;
  /** Container or IOAS that calls for DMA name. */
  dma: number;
  nowNs = 1000;
  /** Where host memory of the guest is mapped; a live update moves it. */
  hvaBase = HVA;
  readonly slotBytes: number;
  #tid: number;
  readonly #pid: number;
  #vcpu: number | undefined;

  constructor(options: StoryOptions) {
    const from = options.numbersFrom ?? 0;
    this.options = options;
    this.slotBytes = options.slotBytes ?? 2 ** 23;
    [this.vm, this.ram, this.gmem, this.dma] = [from + 1, from + 2, from + 3, from + 9];
    this.#pid = from + 500;
    this.#tid = this.#pid;
    this.hvaBase += from * 2 ** 36;
  }

  /** The VM with a slot at 0 and one at 4G, and a container that devices use. */
  open(): this {
    const { vm, ram, gmem, slotBytes } = this;
    const file = this.options.sharedFile !== false;
    this.call({ op: 'kvm_create_vm', obj: vm, attrs: 1, result: 0 });
    this.call({ op: 'kvm_create_guest_memfd', obj: gmem, len: 2 * slotBytes, flags: 0, result: 0 });
    if (this.options.shape === 'own') {
      const flags = file ? FLAG.file : FLAG.anonymous;
      this.call({
        op: 'ram_create',
        obj: ram,
        hva: this.hvaBase,
        len: 2 * slotBytes,
        flags,
        result: 0,
        detail: 'shared',
      });
    } else if (file) {
      this.call({
        op: 'mmap',
        obj: ram,
        hva: this.hvaBase,
        offset: 0,
        len: 2 * slotBytes,
        attrs: 3,
        flags: 1,
        result: 0,
      });
    }
    this.slot(0, 0, slotBytes);
    this.slot(1, HIGH, slotBytes);
    return this.container();
  }

  container(): this {
    if (this.options.api === 'type1') this.call({ op: 'vfio_set_iommu', obj: this.dma, attrs: 4, flags: 3, result: 0 });
    else this.call({ op: 'iommufd_ioas_alloc', obj: this.dma, result: 0 });
    return this;
  }

  slot(number: number, gpa: number, len: number, change: Outcome = {}): StoryRow {
    const place = { hva: this.hvaOf(gpa), offset: this.offsetOf(gpa) };
    const attrs = number + this.gmem * 2 ** 32;
    return this.call({
      op: 'kvm_set_user_memory_region2',
      obj: this.vm,
      gpa,
      ...place,
      len,
      attrs,
      flags: FLAG.gmem,
      result: 0,
      ...change,
    });
  }

  /** A vCPU leaves the guest; what `body` does, its thread does before the guest goes on. */
  exit(vcpu: number, to: Side, gpa: number, len: number, body: () => void = () => {}, change: Outcome = {}): StoryRow {
    const attrs = to === 'private' ? MAP_GPA_PRIVATE : 0;
    return this.#stall(vcpu, { op: 'exit_map_gpa_range', gpa, len, attrs, result: 0, ...change }, body);
  }

  /** The guest just used memory as if it were on that side. */
  fault(vcpu: number, to: Side, gpa: number, len: number, body: () => void = () => {}): StoryRow {
    const flags = to === 'private' ? MEMORY_PRIVATE : 0;
    return this.#stall(vcpu, { op: 'exit_memory_fault', gpa, len, flags, result: -1, errno: 14 }, body);
  }

  attributes(to: Side, gpa: number, len: number, outcome: Outcome = {}): StoryRow {
    const attrs = to === 'private' ? MEMORY_PRIVATE : 0;
    const result = outcome.errno ? undefined : 0;
    return this.call({ op: 'kvm_set_memory_attributes', obj: this.vm, gpa, len, attrs, flags: 0, result, ...outcome });
  }

  /** In place: the guest_memfd is told, by offset. */
  attributes2(to: Side, gpa: number, len: number, outcome: Outcome = {}): StoryRow {
    const attrs = to === 'private' ? MEMORY_PRIVATE : 0;
    const result = outcome.errno ? undefined : 0;
    const place = { ...this.#gpa(gpa), offset: this.offsetOf(gpa) };
    return this.call({
      op: 'kvm_set_memory_attributes2',
      obj: this.gmem,
      ...place,
      len,
      attrs,
      flags: 0,
      result,
      ...outcome,
    });
  }

  map(gpa: number, len: number, outcome: Outcome = {}): StoryRow {
    const type1 = this.options.api === 'type1';
    const result = outcome.errno ? undefined : 0;
    return this.call({
      op: type1 ? 'vfio_map_dma' : 'iommufd_ioas_map',
      obj: this.dma,
      ...this.#gpa(gpa),
      hva: this.hvaOf(gpa),
      iova: gpa,
      len,
      flags: type1 ? FLAG.type1 : FLAG.iommufd,
      result,
      ...outcome,
    });
  }

  /** One mapping per page. */
  mapPages(gpa: number, len: number): StoryRow[] {
    return Array.from({ length: len / PAGE }, (_, page) => this.map(gpa + page * PAGE, PAGE));
  }

  unmap(gpa: number, len: number, outcome: Outcome = {}): StoryRow {
    const type1 = this.options.api === 'type1';
    const result = outcome.errno ? undefined : len;
    const op = type1 ? 'vfio_unmap_dma' : 'iommufd_ioas_unmap';
    return this.call({
      op,
      obj: this.dma,
      ...this.#gpa(gpa),
      iova: gpa,
      len,
      ...(type1 && { flags: 0 }),
      result,
      ...outcome,
    });
  }

  /** As the interface answers an unmap where nothing is mapped. */
  unmapNothing(gpa: number, len: number): StoryRow {
    return this.unmap(gpa, len, this.options.api === 'type1' ? { result: 0 } : { errno: 2 });
  }

  unmapAll(bytes: number): StoryRow {
    const { dma: obj } = this;
    if (this.options.api === 'type1')
      return this.call({ op: 'vfio_unmap_dma', obj, iova: 0, len: 0, flags: FLAG.unmapAll, result: bytes });
    return this.call({ op: 'iommufd_ioas_unmap', obj, iova: 0, len: 2n ** 64n - 1n, result: bytes });
  }

  /** Live update of type1: the mapping stays, its host address is given up. */
  unmapVaddr(iova: number, len: number): StoryRow {
    return this.call({ op: 'vfio_unmap_dma', obj: this.dma, iova, len, flags: FLAG.vaddr, result: len });
  }

  /** The new host address of a mapping. */
  mapVaddr(gpa: number, len: number, outcome: Outcome = {}): StoryRow {
    const hva = this.hvaOf(gpa) + 2 ** 33;
    return this.call({
      op: 'vfio_map_dma',
      obj: this.dma,
      hva,
      iova: gpa,
      len,
      flags: FLAG.vaddr,
      result: 0,
      ...outcome,
    });
  }

  /** Gives memory of a side back. */
  discard(side: Side, gpa: number, len: number, outcome: Outcome = {}): StoryRow {
    const offset = this.offsetOf(gpa);
    const result = outcome.errno ? undefined : 0;
    if (side === 'private')
      return this.call({ op: 'gmem_punch_hole', obj: this.gmem, ...this.#gpa(gpa), offset, len, result, ...outcome });
    if (this.options.sharedFile !== false)
      return this.call({ op: 'ram_punch_hole', obj: this.ram, ...this.#gpa(gpa), offset, len, result, ...outcome });
    return this.advise(gpa, len, 4, outcome);
  }

  /** madvise; 4 is DONTNEED, 9 REMOVE. */
  advise(gpa: number, len: number, advice: number, outcome: Outcome = {}): StoryRow {
    const own = this.options.shape === 'own';
    const file = this.options.sharedFile !== false;
    const named = own || file ? { obj: this.ram, offset: this.offsetOf(gpa) } : {};
    const result = outcome.errno ? undefined : 0;
    return this.call({
      op: 'ram_madvise',
      ...named,
      ...this.#gpa(gpa),
      hva: this.hvaOf(gpa),
      len,
      flags: advice,
      result,
      ...outcome,
    });
  }

  allocate(side: Side, gpa: number, len: number): StoryRow {
    const [op, obj] =
      side === 'private' ? (['gmem_allocate', this.gmem] as const) : (['ram_allocate', this.ram] as const);
    return this.call({ op, obj, ...this.#gpa(gpa), offset: this.offsetOf(gpa), len, result: 0 });
  }

  close(obj: number): StoryRow {
    return this.call({ op: 'close', obj, result: 0 });
  }

  /** An event of the kernel, within the call before it if `within` says so. */
  kernel(row: StoryRow, tid = this.#tid): StoryRow {
    const event = { tid, ts_ns: this.nowNs, ...row };
    this.nowNs += GAP_NS;
    this.rows.push(event);
    return event;
  }

  /** A row of the thread that is running; it takes its time. */
  call(row: StoryRow): StoryRow {
    const made: StoryRow = { pid: this.#pid, tid: this.#tid, ts_ns: this.nowNs, dur_ns: CALL_NS, ...row };
    if (this.#vcpu !== undefined) made.vcpu ??= this.#vcpu;
    this.nowNs += CALL_NS + GAP_NS;
    this.rows.push(made);
    return made;
  }

  /** The calls inside as one that causes events of the kernel: it lasts until they are over. */
  around(call: () => StoryRow, inside: () => void): StoryRow {
    const row = call();
    this.nowNs = Number(row.ts_ns) + GAP_NS;
    inside();
    row.dur_ns = this.nowNs - Number(row.ts_ns);
    this.nowNs += GAP_NS;
    return row;
  }

  /** What the guest asks for as a VMM without faults answers it: attributes, DMA page by page, discard of the other side. */
  convert(vcpu: number, to: Side, gpa: number, len: number): StoryRow {
    return this.exit(vcpu, to, gpa, len, () => {
      this.attributes(to, gpa, len);
      if (to === 'private') this.unmap(gpa, len);
      else this.mapPages(gpa, len);
      this.discard(to === 'private' ? 'shared' : 'private', gpa, len);
    });
  }

  offsetOf(gpa: number): number {
    return gpa < HIGH ? gpa : this.slotBytes + gpa - HIGH;
  }

  hvaOf(gpa: number): number {
    return this.hvaBase + this.offsetOf(gpa);
  }

  get tid(): number {
    return this.#tid;
  }

  #gpa(gpa: number): { gpa?: number } {
    return this.options.shape === 'own' ? { gpa } : {};
  }

  #stall(vcpu: number, row: StoryRow, body: () => void): StoryRow {
    const before = [this.#tid, this.#vcpu] as const;
    [this.#tid, this.#vcpu] = [this.#pid + 1 + vcpu, vcpu];
    if (this.options.shape === 'recorded') row.obj ??= this.vm;
    const exit = this.call(row);
    this.nowNs = Number(exit.ts_ns) + GAP_NS;
    body();
    exit.dur_ns = this.nowNs - Number(exit.ts_ns) + GAP_NS;
    this.nowNs += 2 * GAP_NS;
    [this.#tid, this.#vcpu] = before;
    return exit;
  }
}

/** Rows of several stories as one trace: in the order of their times. */
export function merged(...stories: readonly (readonly StoryRow[])[]): StoryRow[] {
  return stories.flat().toSorted((a, b) => Number(a.ts_ns) - Number(b.ts_ns));
}

/** The rows as one of the traces of an analysis. */
export function traceOf(rows: readonly StoryRow[], trace: number, times: boolean): InlineRow[] {
  return rows.map((row) => ({ ...row, trace, ...(!times && { ts_ns: undefined, dur_ns: undefined }) }));
}
