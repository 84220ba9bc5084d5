/**
 * One ordered pass over the rows of a trace that keeps what is live: slots, the side of each page, what is held, DMA mappings; and tells a sink of
 * what ended and of what was wrong. Time and memory grow with the rows and with what is live at once, not with the pages of the guest.
 */
import { Dma } from './dma.ts';
import { DmaCalls } from './dma-calls.ts';
import { TooMuchStateError, Work, type TraceFacts } from './facts.ts';
import { GuestMemory, type MemoryObserver, type MemoryTotals } from './guest-memory.ts';
import { Judge } from './judge.ts';
import { KernelMappings } from './kernel-mappings.ts';
import { MADV_DONTNEED, MADV_REMOVE, MAX_GPA, pastOf, Places } from './places.ts';
import { failedCall, madeGood, newRequest, Requests, type GuestRange, type Request } from './request.ts';
import type { StateSink } from './sink.ts';
import { Slots } from './slots.ts';
import type { StateRow } from './state-row.ts';
import { VaddrWindows } from './vaddr-windows.ts';

/** Pieces that are kept at a time, some 50 bytes each. */
const MAX_PIECES = 24_000_000;

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

export class Walk implements MemoryObserver {
  readonly slots = new Slots();
  readonly work = new Work();
  readonly dma: Dma;
  readonly totals: MemoryTotals = { private: 0, shared: 0, privateHeld: 0, sharedHeld: 0, doublyHeld: 0 };
  readonly facts: TraceFacts;
  /** Calls that allocated, gave back or mapped memory of a guest where the trace does not say which. */
  get unplaced(): number {
    return this.#places.unplaced;
  }
  /** Whether rows are missing before this one. */
  lost = false;
  readonly #sink: StateSink;
  readonly #judge: Judge;
  readonly #places: Places;
  readonly #calls: DmaCalls;
  readonly #requests = new Requests();
  readonly #guests = new Map<number, GuestMemory>();
  readonly #setsAttributes: boolean;
  /** What was asked for matters only beside accesses that ask by themselves. */
  readonly #seesFaults: boolean;
  readonly #windows: VaddrWindows;
  readonly #kernel: KernelMappings;
  /** By object: whether it stands for the private side, and whether a file is behind it. */
  readonly #objects = new Map<number, { readonly isPrivate: boolean; readonly isFile: boolean }>();
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

  constructor(facts: TraceFacts, sink: StateSink) {
    this.facts = facts;
    this.#sink = sink;
    this.#setsAttributes = [...ATTRIBUTE_OPS].some((op) => facts.succeeded.has(op));
    this.#seesFaults = facts.ops.has('exit_memory_fault');
    this.#places = new Places(this.slots, sink);
    this.dma = new Dma(this.slots, sink, facts.ops.has('iommufd_ioas_alloc'));
    this.#windows = new VaddrWindows(sink);
    this.#kernel = new KernelMappings(
      sink,
      facts.ops.has('iommu_unmap'),
      facts.ops.has('iommu_fault'),
      () => this.lost,
    );
    this.#judge = new Judge(this, sink);
    this.#calls = new DmaCalls(this, this.#places, this.#judge, this.#windows, this.#kernel);
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
    this.#judge.storms.stormed(vm, gpa, past, this.#seq, this.#ns);
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
        if (row.errno === 0) this.#places.vmOf(row.obj);
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
        if (row.errno === 0) this.#calls.made(row.obj);
        return;
      case 'iommufd_open':
        this.#calls.openedIommufd(row.obj);
        return;
      case 'vfio_iommu_get_info':
        this.#calls.limit(row);
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
        this.#calls.fault(row);
        return;
      case 'mmap':
        this.#places.mapped(row);
        return;
      case 'munmap':
        this.#places.unmapped(row);
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
    const vm = this.#places.vmOf(row.obj);
    const told = Number.isNaN(row.result) ? undefined : row.result !== 0 && !(isFault && row.result === -1);
    const request = newRequest(row, {
      vm,
      gpa: known ? row.gpa : -1,
      past: known ? past : -1,
      wanted: toPrivate,
      isExit: true,
      isFault,
      end: row.ts >= 0 && row.dur >= 0 ? row.ts + row.dur : -1,
      // The exit's own return value is no answer to the guest.
      refused: isFault && row.result === -1 ? undefined : told,
      mappedBefore: known ? this.dma.measure(vm, row.gpa, past) : 0,
    });
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
      const ranges = this.#places.rangesOf(row);
      if (!request?.isExit) request = this.#ownRequest(row, ranges);
      this.#attributes(row, ranges, request);
      return;
    }
    if (touches) {
      this.#hold(row, this.#places.rangesOf(row));
      return;
    }
    switch (row.op) {
      case 'gmem_allocate':
      case 'ram_allocate':
        this.#allocate(row, request);
        return;
      case 'kvm_pre_fault_memory':
        if (row.errno !== 0) request?.failed.push(failedCall(row, 'allocate', this.#places.rangesOf(row)));
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
        this.#calls.map(row, request);
        return;
      default:
        this.#calls.unmap(row, request);
    }
  }

  /** A request of the VMM's own. */
  #ownRequest(row: StateRow, ranges: readonly GuestRange[]): Request {
    const first = ranges[0];
    const request = newRequest(row, {
      vm: first?.vm ?? this.#places.vmOf(row.obj),
      gpa: first?.gpa ?? -1,
      past: ranges.at(-1)?.past ?? -1,
      wanted: (row.attrs & 8) === 8,
      isExit: false,
      isFault: false,
      end: -1,
      refused: undefined,
      mappedBefore: first ? this.dma.measure(first.vm, first.gpa, first.past) : 0,
    });
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
    const ranges = this.#places.rangesOf(row);
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
    const ranges = this.#places.rangesOf(row);
    const object = this.#objects.get(row.obj);
    if (row.op === 'ram_madvise') {
      const isFile = object?.isFile ?? this.#places.isFile(row.pid, row.hva);
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
    const mappings = ranges.flatMap(({ vm, gpa, past }) => this.dma.mappingsOn(vm, gpa, past));
    this.work.count(mappings.length);
    const discard = { seq: row.seq, ns: row.ts, ranges, bytes, mappings };
    if (request) request.mappedDiscards.push(discard);
    else this.#judge.discardedWhileMapped(discard, -1);
  }

  #slot(row: StateRow): void {
    if (row.errno !== 0 || row.attrs < 0 || row.gpa < 0 || row.len < 0) return;
    const vm = this.#places.vmOf(row.obj);
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
    if (hasGmem) this.#places.boundGmem(slot.gmem, vm);
    // Memory that a device holds already is the guest's from now on.
    if (row.hva < 0 || slot.id >= 65536) return;
    this.dma.forEachMappedHva(row.pid, row.hva, row.hva + row.len, (hva, end) => {
      this.guest(vm).hold(row.gpa + hva - row.hva, row.gpa + end - row.hva, false, row.seq, row.ts);
    });
  }

  #closeObject(obj: number): void {
    if (obj < 0) return;
    const spaces = this.dma.spacesOf(obj);
    // An iommufd takes its IOASes with it. Rows do not say whose an IOAS is: with one iommufd it is known.
    if (this.#calls.closedLastIommufd(obj)) spaces.push(...[...this.dma.spaces].filter(({ api }) => api === 'iommufd'));
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

  #checkSize(): void {
    let pieces = this.dma.totals.mappings;
    for (const guest of this.#guests.values()) pieces += guest.pieces;
    if (pieces > MAX_PIECES)
      throw new TooMuchStateError(`more than ${MAX_PIECES / 1e6} million ranges are in different states at one time`);
  }
}
