/**
 * One ordered pass over the rows of a trace that keeps what is live: slots, the side of each page, what is held, DMA mappings; and tells a sink of
 * what ended and of what was wrong. Time and memory grow with the rows and with what is live at once, not with the pages of the guest.
 */
import { Dma, isReal } from './dma.ts';
import type { DmaApi, DmaSpace, Place } from './dma-space.ts';
import { GuestMemory, type MemoryObserver, type MemoryTotals } from './guest-memory.ts';
import { Judge } from './judge.ts';
import { KernelMappings } from './kernel-mappings.ts';
import { RangeList } from './range-list.ts';
import { Requests, type GuestRange, type Request } from './request.ts';
import type { StateSink } from './sink.ts';
import { Slots } from './slots.ts';
import type { StateRow } from './state-row.ts';
import { VaddrWindows } from './vaddr-windows.ts';

/** What is known of a trace before its rows. */
export interface TraceFacts {
  /** Operations that it has, and of them those that succeeded at least once. */
  readonly ops: ReadonlySet<string>;
  readonly succeeded: ReadonlySet<string>;
  /** Guest memory as the metadata says, bytes; null if unknown. */
  readonly guestBytes: number | null;
  readonly limits: HazardLimits;
}

/** From where on something is a hazard. */
export interface HazardLimits {
  /** Memory held on both sides, bytes; null: a quarter of the guest's. */
  readonly doublyHeldBytes: number | null;
  /** Share of dma_entry_limit. */
  readonly dmaEntryShare: number;
}

export const DEFAULT_LIMITS: HazardLimits = { doublyHeldBytes: null, dmaEntryShare: 0.9 };

/** Pieces that are kept at a time, some 50 bytes each. */
const MAX_PIECES = 24_000_000;

/** Pieces gone over by calls that are about all mappings. */
const MAX_WORK = 100_000_000;

/** Guest-physical addresses have at most 52 bits. */
const MAX_GPA = 2 ** 52;

const VADDR = 4;
const UNMAP_ALL = 2;
const MADV_DONTNEED = 4;
const MADV_REMOVE = 9;
const ENOENT = 2;
const EEXIST = 17;
const ENOSPC = 28;
/** DMA_AVAIL of the compatibility mode: no limit. */
const NO_LIMIT = 2 ** 32 - 1;

const ATTRIBUTE_OPS: ReadonlySet<string> = new Set([
  'kvm_set_memory_attributes',
  'kvm_set_memory_attributes2',
  'kvm_convert_memory',
]);
const TOUCH_OPS: ReadonlySet<string> = new Set(['gmem_touch', 'ram_touch', 'guest_touch']);
/** Calls that can belong to a request; others are the VMM's own, whenever they come. */
const REQUEST_OPS: ReadonlySet<string> = new Set([
  ...ATTRIBUTE_OPS,
  ...TOUCH_OPS,
  'gmem_punch_hole',
  'ram_punch_hole',
  'ram_madvise',
  'gmem_allocate',
  'ram_allocate',
  'kvm_pre_fault_memory',
  'vfio_map_dma',
  'vfio_unmap_dma',
  'iommufd_ioas_map',
  'iommufd_ioas_map_file',
  'iommufd_ioas_unmap',
  'iommufd_ioas_copy',
  'vfio_user_dma_map',
  'vfio_user_dma_unmap',
  'vfio_listener_region_add',
  'vfio_listener_region_del',
]);

/** Without a place in the guest, what they do to its memory is not known. */
const UNPLACED_OPS: ReadonlySet<string> = new Set([
  'ram_allocate',
  'ram_punch_hole',
  'vfio_map_dma',
  'iommufd_ioas_map',
]);

/** The trace has more than a walk can hold, or do in bounded time. */
export class TooMuchStateError extends Error {}

export class Walk implements MemoryObserver {
  readonly slots = new Slots();
  readonly dma: Dma;
  readonly totals: MemoryTotals = { private: 0, shared: 0, privateHeld: 0, sharedHeld: 0, doublyHeld: 0 };
  readonly facts: TraceFacts;
  /** Calls that allocated, gave back or mapped memory of a guest where the trace does not say which. */
  get unplaced(): number {
    return this.#unplacedPrivate + (this.slots.seen ? 0 : this.#unplacedShared);
  }
  #unplacedPrivate = 0;
  #unplacedShared = 0;
  /** Whether rows are missing before this one. */
  lost = false;
  readonly #sink: StateSink;
  readonly #judge: Judge;
  readonly #requests = new Requests();
  readonly #guests = new Map<number, GuestMemory>();
  readonly #setsAttributes: boolean;
  /** What was asked for matters only beside accesses that ask by themselves. */
  readonly #seesFaults: boolean;
  readonly #windows: VaddrWindows;
  readonly #kernel: KernelMappings;
  /** By object: whether it stands for the private side, and whether a file is behind it. */
  readonly #objects = new Map<number, { readonly isPrivate: boolean; readonly isFile: boolean }>();
  readonly #gmemVm = new Map<number, number>();
  readonly #iommufds = new Set<number>();
  /** Containers and IOASes whose making the trace has. */
  readonly #made = new Set<number>();
  /** Files in processes: by file from the offset, by process from the hva; extra: what to add for the other. */
  readonly #fileAt = new Map<number, RangeList>();
  readonly #isFileHva = new Map<number, RangeList>();
  readonly #filePid = new Map<number, number>();
  #defaultVm = -1;
  #seq = -1;
  #ns = -1;
  /** The last state that the sink was told. */
  readonly #told = {
    private: 0,
    shared: 0,
    privateHeld: 0,
    sharedHeld: 0,
    doublyHeld: 0,
    mapped: 0,
    pinned: 0,
    mappings: 0,
  };
  #rows = 0;
  #worked = 0;

  constructor(facts: TraceFacts, sink: StateSink) {
    this.facts = facts;
    this.#sink = sink;
    this.#setsAttributes = [...ATTRIBUTE_OPS].some((op) => facts.succeeded.has(op));
    this.#seesFaults = facts.ops.has('exit_memory_fault');
    this.dma = new Dma(this.slots, sink, facts.ops.has('iommufd_ioas_alloc'));
    this.#windows = new VaddrWindows(sink);
    this.#kernel = new KernelMappings(
      sink,
      facts.ops.has('iommu_unmap'),
      facts.ops.has('iommu_fault'),
      () => this.lost,
    );
    this.#judge = new Judge(this, sink);
  }

  /** @throws TooMuchStateError */
  step(row: StateRow): void {
    this.#seq = row.seq;
    this.#ns = row.ts;
    if (row.ts >= 0) this.#requests.closeUntil(row.ts, this.#close);
    this.#kernel.follows(row);
    this.#apply(row);
    this.#tellMemory();
    if ((++this.#rows & 0xffff) === 0) this.#checkSize();
  }

  /** The trace is over. */
  end(): void {
    this.#requests.closeAll(this.#close);
    this.#judge.end();
    this.#windows.end();
    this.#kernel.end();
    this.#seq = -1;
    this.#ns = -1;
    this.dma.end();
    for (const guest of this.#guests.values()) guest.end();
    for (const slot of this.slots.live()) this.#sink.slot(slot, -1);
  }

  /** Memory of a VM, made when it is first spoken of. */
  guest(vm: number): GuestMemory {
    let guest = this.#guests.get(vm);
    if (!guest) this.#guests.set(vm, (guest = new GuestMemory(vm, this.totals, this)));
    return guest;
  }

  /** Size of all guests as far as it is known, bytes. */
  guestBytes(): number {
    if (this.facts.guestBytes !== null && this.facts.guestBytes > 0) return this.facts.guestBytes;
    let slots = 0;
    for (const slot of this.slots.live()) if (slot.id < 65536) slots += slot.len;
    if (slots > 0) return slots;
    let seen = 0;
    for (const guest of this.#guests.values()) seen += guest.seenBytes;
    return seen;
  }

  stayed(vm: number, gpa: number, past: number, isPrivate: boolean, seq: number, ns: number): void {
    this.#sink.side(vm, gpa, past, isPrivate, { fromSeq: seq, fromNs: ns, pastSeq: this.#seq, pastNs: this.#ns });
  }

  held(vm: number, gpa: number, past: number, isPrivate: boolean, seq: number, ns: number): void {
    this.#sink.hold(vm, gpa, past, isPrivate, { fromSeq: seq, fromNs: ns, pastSeq: this.#seq, pastNs: this.#ns });
  }

  stormed(vm: number, gpa: number, past: number): void {
    this.#judge.stormed(vm, gpa, past, this.#seq, this.#ns);
  }

  readonly #close = (request: Request): void => {
    this.#sink.request(
      request.seq,
      request.vm,
      this.slots.seen && request.gpa >= 0 ? this.slots.measure(request.vm, request.gpa, request.past) : -1,
      request.changedBytes,
    );
    this.#judge.close(request);
  };

  #apply(row: StateRow): void {
    switch (row.op) {
      case 'exit_map_gpa_range':
      case 'exit_memory_fault':
        this.#exit(row);
        return;
      case 'kvm_create_vm':
        if (row.errno === 0 && this.#defaultVm < 0) this.#defaultVm = row.obj;
        return;
      case 'kvm_create_guest_memfd':
        if (row.errno === 0) this.#objects.set(row.obj, { isPrivate: true, isFile: true });
        return;
      case 'ram_create':
        if (row.errno === 0) this.#objects.set(row.obj, { isPrivate: row.isPrivate, isFile: (row.flags & 1) === 1 });
        return;
      case 'kvm_set_user_memory_region':
      case 'kvm_set_user_memory_region2':
        this.#slot(row);
        return;
      case 'vfio_set_iommu':
      case 'iommufd_ioas_alloc':
        if (row.errno === 0) this.#made.add(row.obj);
        return;
      case 'iommufd_open':
        this.#iommufds.add(row.obj);
        return;
      case 'vfio_iommu_get_info':
        this.#limit(row);
        return;
      case 'vfio_attach_iommufd_pt':
      case 'iommufd_test_mock_domain':
        if (row.errno === 0) this.dma.attach();
        return;
      case 'iommu_map':
        this.#kernel.mapped(row);
        return;
      case 'iommu_unmap':
        this.#kernel.unmapped(row);
        return;
      case 'iommu_fault':
        this.#fault(row);
        return;
      case 'mmap':
        this.#mmap(row);
        return;
      case 'munmap':
        if (row.errno === 0 && row.hva >= 0 && row.len > 0)
          this.#isFileHva.get(row.pid)?.clear(row.hva, row.hva + row.len);
        return;
      case 'close':
        this.#closeObject(row.obj);
        return;
      case 'iommufd_destroy':
        if (row.errno === 0) this.#closeObject(row.obj);
        return;
      case 'lost':
        this.lost = true;
        return;
      default:
        if (REQUEST_OPS.has(row.op)) this.#call(row);
    }
  }

  #exit(row: StateRow): void {
    const isFault = row.op === 'exit_memory_fault';
    const toPrivate = isFault ? (row.flags & 8) === 8 : (row.attrs & 16) === 16;
    const past = pastOf(row.gpa, row.len);
    const known = row.gpa >= 0 && past > row.gpa && past <= MAX_GPA && (isFault ? row.flags >= 0 : row.attrs >= 0);
    const vm = this.#vmOf(row.obj);
    const told = Number.isNaN(row.result) ? undefined : row.result !== 0 && !(isFault && row.result === -1);
    const request: Request = {
      seq: row.seq,
      ns: row.ts,
      end: row.ts >= 0 && row.dur >= 0 ? row.ts + row.dur : -1,
      thread: row.thread,
      vcpu: row.vcpu,
      vm,
      isExit: true,
      isFault,
      gpa: known ? row.gpa : -1,
      past: known ? past : -1,
      toPrivate,
      wanted: toPrivate,
      // The exit's own return value is no answer to the guest.
      refused: isFault && row.result === -1 ? undefined : told,
      changed: [],
      changedBytes: 0,
      askedBytes: 0,
      inPlace: false,
      failed: [],
      mappedDiscards: [],
      misfits: [],
      privateMaps: [],
      mappedBefore: known ? this.dma.measure(vm, row.gpa, past) : 0,
      discardedShared: [],
      unmaps: [],
    };
    this.#requests.open(request, this.#close);
    if (!known) return;
    const guest = this.guest(vm);
    if (!isFault && this.#seesFaults) guest.ask(row.gpa, past, toPrivate, row.seq, row.ts);
    if (!this.#setsAttributes && told !== true) this.#convert(request, { vm, gpa: row.gpa, past }, toPrivate, row);
  }

  #call(row: StateRow): void {
    const touches = TOUCH_OPS.has(row.op);
    let request = this.#requests.of(row, touches);
    if (ATTRIBUTE_OPS.has(row.op)) {
      const ranges = this.#rangesOf(row);
      if (!request?.isExit) request = this.#ownRequest(row, ranges);
      this.#attributes(row, ranges, request);
      return;
    }
    if (touches) {
      this.#hold(row, this.#rangesOf(row));
      return;
    }
    switch (row.op) {
      case 'gmem_allocate':
      case 'ram_allocate':
        this.#allocate(row, request);
        return;
      case 'kvm_pre_fault_memory':
        if (row.errno !== 0) request?.failed.push(failedCall(row, 'allocate', this.#rangesOf(row)));
        return;
      case 'gmem_punch_hole':
      case 'ram_punch_hole':
      case 'ram_madvise':
        this.#discard(row, request);
        return;
      case 'vfio_map_dma':
      case 'iommufd_ioas_map':
      case 'iommufd_ioas_map_file':
      case 'iommufd_ioas_copy':
      case 'vfio_user_dma_map':
      case 'vfio_listener_region_add':
        this.#map(row, request);
        return;
      default:
        this.#unmap(row, request);
    }
  }

  /** A request of the VMM's own. */
  #ownRequest(row: StateRow, ranges: readonly GuestRange[]): Request {
    const first = ranges[0];
    const request: Request = {
      seq: row.seq,
      ns: row.ts,
      end: -1,
      thread: row.thread,
      vcpu: row.vcpu,
      vm: first?.vm ?? this.#vmOf(row.obj),
      isExit: false,
      isFault: false,
      gpa: first?.gpa ?? -1,
      past: ranges.at(-1)?.past ?? -1,
      toPrivate: (row.attrs & 8) === 8,
      wanted: (row.attrs & 8) === 8,
      refused: undefined,
      changed: [],
      changedBytes: 0,
      askedBytes: 0,
      inPlace: false,
      failed: [],
      mappedDiscards: [],
      misfits: [],
      privateMaps: [],
      mappedBefore: first ? this.dma.measure(first.vm, first.gpa, first.past) : 0,
      discardedShared: [],
      unmaps: [],
    };
    this.#requests.open(request, this.#close);
    return request;
  }

  #attributes(row: StateRow, ranges: readonly GuestRange[], request: Request): void {
    const toPrivate = (row.attrs & 8) === 8;
    if (row.op === 'kvm_set_memory_attributes2') request.inPlace = true;
    if (row.errno !== 0) {
      request.failed.push(failedCall(row, 'attribute', ranges));
      return;
    }
    madeGood(request, 'attribute', ranges);
    request.toPrivate = toPrivate;
    for (const range of ranges) this.#convert(request, range, toPrivate, row);
  }

  #convert(request: Request, range: GuestRange, toPrivate: boolean, row: StateRow): void {
    const guest = this.guest(range.vm);
    const asked = request.isFault ? guest.measureAsked(range.gpa, range.past, toPrivate) : 0;
    const changed = guest.convert(range.gpa, range.past, toPrivate, row.seq, row.ts);
    let bytes = 0;
    for (let i = 0; i < changed.length; i += 2) bytes += (changed[i + 1] as number) - (changed[i] as number);
    request.changedBytes += bytes;
    request.askedBytes += Math.min(asked, bytes);
    // Few requests change more than one part; of many the judge sees the whole range.
    if (request.changed.length + changed.length <= 128) request.changed.push(...changed);
    else
      request.changed = [
        Math.min(range.gpa, request.changed[0] ?? range.gpa),
        Math.max(range.past, request.changed.at(-1) ?? 0),
      ];
  }

  #allocate(row: StateRow, request: Request | undefined): void {
    const ranges = this.#rangesOf(row);
    if (row.errno !== 0) {
      request?.failed.push(failedCall(row, 'allocate', ranges));
      return;
    }
    if (request) madeGood(request, 'allocate', ranges);
    this.#hold(row, ranges);
  }

  #hold(row: StateRow, ranges: readonly GuestRange[]): void {
    if (row.errno !== 0) return;
    const object = this.#objects.get(row.obj);
    // A read of anonymous memory maps the zero page.
    if (
      (row.op === 'ram_touch' || row.op === 'guest_touch') &&
      row.flags >= 0 &&
      row.flags !== 1 &&
      object?.isFile === false
    )
      return;
    const isPrivate = row.op.startsWith('gmem') || object?.isPrivate === true;
    for (const { vm, gpa, past } of ranges) this.guest(vm).hold(gpa, past, isPrivate, row.seq, row.ts);
  }

  #discard(row: StateRow, request: Request | undefined): void {
    const ranges = this.#rangesOf(row);
    const object = this.#objects.get(row.obj);
    if (row.op === 'ram_madvise') {
      const isFile = object?.isFile ?? this.#isFile(row.pid, row.hva);
      if (row.flags !== MADV_REMOVE && !(row.flags === MADV_DONTNEED && !isFile)) return;
    }
    const isPrivate = row.op === 'gmem_punch_hole' || object?.isPrivate === true;
    if (row.errno !== 0) {
      request?.failed.push(failedCall(row, 'discard', ranges));
      return;
    }
    if (request) madeGood(request, 'discard', ranges);
    for (const { vm, gpa, past } of ranges) this.guest(vm).giveBack(gpa, past, isPrivate);
    if (isPrivate && request?.inPlace !== true) return;
    if (!isPrivate) request?.discardedShared.push(...ranges);
    let bytes = 0;
    for (const { vm, gpa, past } of ranges) bytes += this.dma.measure(vm, gpa, past);
    if (bytes === 0) return;
    const mappings = ranges.flatMap(({ vm, gpa, past }) => this.dma.mappingsOn(vm, gpa, past, 8)).slice(0, 8);
    const discard = { seq: row.seq, ns: row.ts, ranges, bytes, mappings };
    if (request) request.mappedDiscards.push(discard);
    else this.#judge.discardedWhileMapped(discard, -1);
  }

  #map(row: StateRow, request: Request | undefined): void {
    const api = apiOf(row.op);
    const space = this.#space(api, row.obj);
    const iova = api === 'listener' ? Math.max(row.iova, row.gpa) : row.iova;
    const past = pastOf(iova, row.len);
    if (iova < 0 || !(past > iova)) return;
    if ((row.flags & VADDR) !== 0 && row.flags >= 0 && api === 'type1') {
      if (row.errno === 0) this.#windows.closed(row.obj, iova, past, row.seq, row.ts);
      return;
    }
    const ranges = api === 'listener' ? [] : this.#rangesOf(row);
    if (row.errno !== 0) {
      this.#mapFailed(row, request, space, iova, past, ranges);
      return;
    }
    if (request) madeGood(request, 'map', ranges);
    const place = this.#placeOf(row, ranges, space);
    if (api === 'type1') this.#windows.touched(row.obj, iova, past, row.seq, row.ts, 'mapped anew');
    const elsewhere =
      row.gpa >= 0 && place.kind === 'gpa' ? space.ofPlace('gpa', place.space, row.gpa, row.gpa + row.len, 8) : [];
    const replaced = this.dma.map(space, iova, past, place, row.seq, row.ts);
    if (replaced.length > 0) this.#judge.mappedTwice(space, iova, past, replaced, row.seq, row.ts);
    if (!isReal(api)) return;
    this.#kernel.called(row, iova, past);
    if (request?.isExit !== true) space.setUp.add(row.seq);
    this.#judge.counted(space, row.seq, row.ts);
    const mapping = { iova, past, seq: row.seq, ns: row.ts, place };
    for (const range of ranges) {
      const { vm, gpa, past: end } = range;
      const guest = this.guest(vm);
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
    if (row.errno === ENOSPC && space.api === 'type1') this.#judge.refusedForLimit(space, row.seq, row.ts, request);
    else if (row.errno === EEXIST) this.#judge.refusedAsMapped(space, iova, past, row.seq, row.ts);
    else request?.failed.push(failedCall(row, 'map', ranges));
  }

  #unmap(row: StateRow, request: Request | undefined): void {
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
      this.#work(given.length);
      this.#windows.opened(row.obj, given, row.seq, row.ts);
      return;
    }
    if (all) {
      if (row.errno !== 0) return;
      this.#windows.touched(row.obj, 0, Infinity, row.seq, row.ts, 'unmapped');
      const gone = this.dma.clear(space, 'unmap_all', row.seq, row.ts);
      this.#kernel.released(space, gone, row);
      return;
    }
    if (iova < 0 || !(past > iova)) return;
    if (api === 'type1' && row.errno === 0) this.#windows.touched(row.obj, iova, past, row.seq, row.ts, 'unmapped');
    request?.unmaps.push({ space, iova, past, seq: row.seq });
    const { ended, left } = this.dma.unmap(space, iova, past, row.errno, row.result, row.seq, row.ts);
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

  #fault(row: StateRow): void {
    if (row.iova < 0) return;
    this.#windows.touched(-1, row.iova, row.iova + 1, row.seq, row.ts, 'accessed by a device');
    for (const space of this.dma.spaces) if (isReal(space.api) && space.isMapped(row.iova)) return;
    this.#kernel.faulted(row);
  }

  #slot(row: StateRow): void {
    if (row.errno !== 0 || row.attrs < 0 || row.gpa < 0 || row.len < 0) return;
    const vm = row.obj >= 0 ? row.obj : this.#defaultVm;
    if (this.#defaultVm < 0) this.#defaultVm = vm;
    const ended = (slot: Parameters<StateSink['slot']>[0]): void => this.#sink.slot(slot, row.ts);
    const past = pastOf(row.gpa, row.len);
    if (row.len === 0 || past > MAX_GPA) {
      this.slots.delete(vm, row.attrs, row.seq, ended);
      return;
    }
    // KVM_MEM_GUEST_MEMFD
    const hasGmem = row.op === 'kvm_set_user_memory_region2' && (row.flags & 4) === 4 && row.offset >= 0;
    const slot = {
      vm,
      id: row.attrs,
      pid: row.pid,
      gpa: row.gpa,
      len: row.len,
      hva: row.hva,
      gmem: hasGmem ? row.attrsHigh : -1,
      gmemOffset: hasGmem ? row.offset : -1,
      flags: row.flags,
      fromSeq: row.seq,
      fromNs: row.ts,
      pastSeq: -1,
    };
    this.slots.set(slot, ended);
    if (hasGmem) this.#gmemVm.set(slot.gmem, vm);
    // Memory that a device holds already is the guest's from now on.
    if (row.hva < 0 || slot.id >= 65536) return;
    this.dma.forEachMappedHva(row.pid, row.hva, row.hva + row.len, (hva, end) => {
      this.guest(vm).hold(row.gpa + hva - row.hva, row.gpa + end - row.hva, false, row.seq, row.ts);
    });
  }

  #limit(row: StateRow): void {
    if (row.errno !== 0 || Number.isNaN(row.result) || row.result < 0) return;
    const space = this.#space('type1', row.obj);
    space.limit = row.result >= NO_LIMIT ? Infinity : row.result + space.count;
  }

  #space(api: DmaApi, obj: number): DmaSpace {
    const space = this.dma.space(api, obj);
    if (api === 'type1' && space.limit < 0 && this.#iommufds.has(obj)) space.limit = Infinity;
    return space;
  }

  #mmap(row: StateRow): void {
    const past = pastOf(row.hva, row.len);
    if (row.errno !== 0 || row.hva < 0 || !(past > row.hva)) return;
    listOf(this.#isFileHva, row.pid).set(row.hva, past, 0, row.seq, row.ts);
    if (row.obj < 0 || row.offset < 0) return;
    listOf(this.#fileAt, row.obj).set(row.offset, row.offset + row.len, 0, row.seq, row.ts, row.hva - row.offset);
    this.#filePid.set(row.obj, row.pid);
  }

  #isFile(pid: number, hva: number): boolean {
    return hva >= 0 && this.#isFileHva.get(pid)?.at(hva, () => undefined) === true;
  }

  #closeObject(obj: number): void {
    if (obj < 0) return;
    const spaces = this.dma.spacesOf(obj);
    // An iommufd takes its IOASes with it. Rows do not say whose an IOAS is: with one iommufd it is known.
    if (this.#iommufds.delete(obj) && this.#iommufds.size === 0)
      spaces.push(...[...this.dma.spaces].filter(({ api }) => api === 'iommufd'));
    for (const space of spaces) {
      this.#windows.gone(space.obj, this.#seq, this.#ns);
      this.dma.clear(space, 'close', this.#seq, this.#ns);
    }
    const guest = this.#guests.get(obj);
    const ended = (slot: Parameters<StateSink['slot']>[0]): void => this.#sink.slot(slot, this.#ns);
    this.slots.deleteAll(obj, this.#seq, ended);
    if (!guest) return;
    guest.end();
    this.#guests.delete(obj);
  }

  #vmOf(obj: number): number {
    if (obj < 0) return this.#defaultVm;
    if (this.#defaultVm < 0) this.#defaultVm = obj;
    return obj;
  }

  /** The guest memory that a row is about: as it says itself, or through the slots of this moment. */
  #rangesOf(row: StateRow): GuestRange[] {
    const { gpa, len } = row;
    if (!(len > 0)) return [];
    if (gpa >= 0) {
      const past = pastOf(gpa, len);
      if (!(past > gpa) || past > MAX_GPA) return [];
      const isVm = row.op === 'kvm_set_memory_attributes' || row.op === 'kvm_convert_memory';
      const vm = isVm ? this.#vmOf(row.obj) : (this.#gmemVm.get(row.obj) ?? this.#defaultVm);
      return [{ vm, gpa, past }];
    }
    const ranges: GuestRange[] = [];
    const add = (vm: number, from: number, past: number): void => {
      ranges.push({ vm, gpa: from, past });
      this.#sink.place(row.seq, vm, from, past);
    };
    if (row.op.startsWith('gmem') || row.op === 'kvm_set_memory_attributes2')
      this.slots.ofGmem(row.obj, row.offset, pastOf(row.offset, len), add);
    else if (row.hva >= 0) this.slots.ofHva(row.pid, row.hva, pastOf(row.hva, len), add);
    else if (row.op.startsWith('ram') && row.offset >= 0)
      this.#fileAt.get(row.obj)?.forEach(row.offset, row.offset + len, (from, past, _value, _seq, _ns, toHva) => {
        this.slots.ofHva(this.#filePid.get(row.obj) ?? row.pid, from + toHva, past + toHva, add);
      });
    if (ranges.length === 0 && row.errno === 0) this.#countUnplaced(row);
    return ranges;
  }

  /** Where slots are known, what is in none of them is not the guest's; of a guest_memfd, where it has had one. */
  #countUnplaced({ op, flags, obj }: StateRow): void {
    if (op === 'gmem_allocate' || op === 'gmem_punch_hole') this.#unplacedPrivate += this.#gmemVm.has(obj) ? 0 : 1;
    else if (op.startsWith('ram_madvise') ? flags === MADV_DONTNEED || flags === MADV_REMOVE : UNPLACED_OPS.has(op))
      this.#unplacedShared++;
  }

  #placeOf(row: StateRow, ranges: readonly GuestRange[], space: DmaSpace): Place {
    if (row.gpa >= 0 && ranges[0]) return { kind: 'gpa', space: ranges[0].vm, at: row.gpa };
    if (row.hva >= 0) return { kind: 'hva', space: row.pid, at: row.hva };
    // IOMMU_IOAS_COPY takes over what another IOAS has at `offset`.
    if (row.op === 'iommufd_ioas_copy' && row.offset >= 0) {
      for (const other of this.dma.spaces) {
        if (other.api !== 'iommufd' || other === space) continue;
        const [source] = other.overlapping(row.offset, row.offset + 1);
        if (source && source.place.kind !== 'none')
          return { ...source.place, at: source.place.at + row.offset - source.iova };
      }
    }
    return { kind: 'none', space: -1, at: -1 };
  }

  #tellMemory(): void {
    const { totals, dma } = this;
    const told = this.#told;
    if (
      told.private === totals.private &&
      told.shared === totals.shared &&
      told.privateHeld === totals.privateHeld &&
      told.sharedHeld === totals.sharedHeld &&
      told.doublyHeld === totals.doublyHeld &&
      told.mapped === dma.totals.mapped &&
      told.pinned === dma.totals.pinned &&
      told.mappings === dma.totals.mappings
    )
      return;
    told.private = totals.private;
    told.shared = totals.shared;
    told.privateHeld = totals.privateHeld;
    told.sharedHeld = totals.sharedHeld;
    told.doublyHeld = totals.doublyHeld;
    told.mapped = dma.totals.mapped;
    told.pinned = dma.totals.pinned;
    told.mappings = dma.totals.mappings;
    this.#sink.memory(this.#seq, this.#ns, told);
    this.#judge.held(this.#seq, this.#ns, this.#requests.isOpen);
  }

  /** Counts work that a row can ask for again and again. */
  #work(pieces: number): void {
    this.#worked += pieces;
    if (this.#worked > MAX_WORK) throw new TooMuchStateError('its calls go over the same ranges again and again');
  }

  #checkSize(): void {
    let pieces = this.dma.totals.mappings;
    for (const guest of this.#guests.values()) pieces += guest.pieces;
    if (pieces > MAX_PIECES)
      throw new TooMuchStateError(`more than ${MAX_PIECES / 1e6} million ranges are in different states at one time`);
  }
}

function apiOf(op: string): DmaApi {
  if (op.startsWith('vfio_user')) return 'vfio-user';
  if (op.startsWith('vfio_listener')) return 'listener';
  return op.startsWith('iommufd') ? 'iommufd' : 'type1';
}

/** First address after a range; not above `start` if there is none. */
function pastOf(start: number, len: number): number {
  const past = start + len;
  return start < 0 || len < 0 || past > 2 ** 64 ? -1 : past;
}

function failedCall(row: StateRow, what: 'attribute' | 'allocate' | 'map' | 'discard', ranges: readonly GuestRange[]) {
  return { seq: row.seq, ns: row.ts, what, errno: row.errno, ranges };
}

/** A later call of the same kind on the same memory went well. */
function madeGood(request: Request, what: string, ranges: readonly GuestRange[]): void {
  for (let i = request.failed.length - 1; i >= 0; i--) {
    const failed = request.failed[i];
    if (failed?.what !== what) continue;
    const again = failed.ranges.every((old) =>
      ranges.some(({ vm, gpa, past }) => vm === old.vm && gpa <= old.gpa && past >= old.past),
    );
    if (again) request.failed.splice(i, 1);
  }
}

function listOf(lists: Map<number, RangeList>, of: number): RangeList {
  let list = lists.get(of);
  if (!list) lists.set(of, (list = new RangeList()));
  return list;
}
