/**
 * What the walk over a trace must come to, computed page by page with plain maps: slow, and simple enough to be seen to be right. It knows the
 * VMM's own attribute calls (no exits), slots, what is held, and DMA mappings.
 */
import { PAGE, type StoryRow } from './vmm-story.ts';

/** A state of one page from a row to another; null: to the end. */
export interface Span {
  readonly from: number;
  past: number | null;
}

export interface SlotSpan extends Span {
  readonly slot: number;
  readonly gpa: number;
  readonly len: number;
  readonly hva: number;
  readonly gmemOffset: number;
}

/** A page of I/O-virtual memory while it was mapped. */
export interface MappedPage extends Span {
  readonly obj: number;
  readonly iova: number;
  /** Null if it is not known, or the mapping goes over the end of a slot. */
  readonly gpa: number | null;
}

export interface Totals {
  readonly private_bytes: number;
  readonly shared_bytes: number;
  readonly private_held_bytes: number;
  readonly shared_held_bytes: number;
  readonly doubly_held_bytes: number;
  readonly dma_mapped_bytes: number;
  readonly live_mappings: number;
}

interface Piece {
  readonly pages: number[];
}

const pagesOf = (start: number, len: number): number[] =>
  Array.from({ length: len / PAGE }, (_, i) => start + i * PAGE);

export class PageOracle {
  readonly slots: SlotSpan[] = [];
  readonly stays: (Span & { readonly page: number; readonly isPrivate: boolean })[] = [];
  readonly mapped: MappedPage[] = [];
  /** After each row. */
  readonly totals: Totals[] = [];
  readonly #side = new Map<number, { readonly isPrivate: boolean; readonly stay: Span }>();
  readonly #held = { private: new Set<number>(), shared: new Set<number>() };
  /** By object: the live pieces of its mappings, and for each page the row of its life. */
  readonly #pieces = new Map<number, Set<Piece>>();
  readonly #life = new Map<string, MappedPage>();
  #files: readonly { readonly hva: number; readonly offset: number; readonly len: number }[] = [];

  /** Takes the next row. */
  step(row: StoryRow, seq: number): void {
    if (!row.errno) this.#succeeded(row, seq);
    else if (row.op === 'iommufd_ioas_unmap') this.#unmap(row, seq);
    this.totals.push(this.#total());
  }

  /** Where each page of a row is in the guest. */
  gpas(row: StoryRow): number[] {
    const len = Number(row.len);
    if (row.gpa !== undefined) return pagesOf(Number(row.gpa), len);
    const live = this.slots.filter(({ past }) => past === null);
    const at = (key: 'hva' | 'gmemOffset', address: number): number[] =>
      live
        .filter((slot) => address >= slot[key] && address < slot[key] + slot.len)
        .map((slot) => slot.gpa + address - slot[key]);
    if (row.op.startsWith('gmem') || row.op === 'kvm_set_memory_attributes2')
      return pagesOf(Number(row.offset), len).flatMap((offset) => at('gmemOffset', offset));
    if (row.hva !== undefined) return pagesOf(Number(row.hva), len).flatMap((hva) => at('hva', hva));
    return pagesOf(Number(row.offset), len).flatMap((offset) =>
      this.#files.flatMap((file) =>
        offset >= file.offset && offset < file.offset + file.len ? at('hva', file.hva + offset - file.offset) : [],
      ),
    );
  }

  /** How an unmap of this range would end: what a kernel answers. */
  answer(row: StoryRow): { errno?: number; result?: number } {
    const { whole, touched } = this.#inside(row);
    const bytes = whole.reduce((sum, { pages }) => sum + pages.length * PAGE, 0);
    if (row.op === 'vfio_unmap_dma') return whole.length < touched.length ? { errno: 22 } : { result: bytes };
    return whole.length < touched.length || touched.length === 0 ? { errno: 2 } : { result: bytes };
  }

  isMapped(obj: number, iova: number, len: number): boolean {
    return pagesOf(iova, len).some((page) =>
      [...(this.#pieces.get(obj) ?? [])].some(({ pages }) => pages.includes(page)),
    );
  }

  /** Begin and length of the live mappings of an object. */
  mappings(obj: number): { readonly iova: number; readonly len: number }[] {
    return [...(this.#pieces.get(obj) ?? [])].map(({ pages }) => ({ iova: pages[0] ?? 0, len: pages.length * PAGE }));
  }

  #succeeded(row: StoryRow, seq: number): void {
    const len = Number(row.len);
    switch (row.op) {
      case 'mmap':
        this.#files = [...this.#files, { hva: Number(row.hva), offset: Number(row.offset), len }];
        break;
      case 'kvm_set_user_memory_region2':
        this.#slot(row, seq);
        break;
      case 'kvm_set_memory_attributes':
      case 'kvm_set_memory_attributes2':
        for (const page of this.gpas(row)) this.#convert(page, Number(row.attrs) === 8, seq);
        break;
      case 'gmem_allocate':
        for (const page of this.gpas(row)) this.#held.private.add(page);
        break;
      case 'gmem_punch_hole':
        for (const page of this.gpas(row)) this.#held.private.delete(page);
        break;
      case 'ram_allocate':
        for (const page of this.gpas(row)) this.#held.shared.add(page);
        break;
      case 'ram_punch_hole':
        for (const page of this.gpas(row)) this.#held.shared.delete(page);
        break;
      case 'ram_madvise':
        // The memory of these traces is a file's: DONTNEED gives nothing back.
        if (Number(row.flags) === 9) for (const page of this.gpas(row)) this.#held.shared.delete(page);
        break;
      case 'vfio_map_dma':
      case 'iommufd_ioas_map':
        if (row.op === 'iommufd_ioas_map' || Number(row.flags) !== 4) this.#map(row, seq);
        break;
      case 'vfio_unmap_dma':
      case 'iommufd_ioas_unmap':
        this.#unmap(row, seq);
        break;
      case 'close':
        this.#end(Number(row.obj), [...(this.#pieces.get(Number(row.obj)) ?? [])], seq);
        break;
      default:
    }
  }

  #slot(row: StoryRow, seq: number): void {
    const slot = Number(row.attrs) % 2 ** 32;
    const before = this.slots.find((one) => one.slot === slot && one.past === null);
    if (before) before.past = seq;
    const [gpa, len, hva, gmemOffset] = [Number(row.gpa), Number(row.len), Number(row.hva), Number(row.offset)];
    if (len > 0) this.slots.push({ slot, gpa, len, hva, gmemOffset, from: seq, past: null });
  }

  #convert(page: number, isPrivate: boolean, seq: number): void {
    const before = this.#side.get(page);
    if (before?.isPrivate === isPrivate) return;
    if (before) before.stay.past = seq;
    const stay = { page, isPrivate, from: seq, past: null };
    this.stays.push(stay);
    this.#side.set(page, { isPrivate, stay });
  }

  #map(row: StoryRow, seq: number): void {
    const obj = Number(row.obj);
    const pages = pagesOf(Number(row.iova), Number(row.len));
    const gpas = this.gpas(row);
    const inOneSlot = gpas.length === pages.length && gpas.every((gpa, i) => gpa === (gpas[0] ?? 0) + i * PAGE);
    let pieces = this.#pieces.get(obj);
    if (!pieces) this.#pieces.set(obj, (pieces = new Set()));
    this.#end(
      obj,
      [...pieces].filter((piece) => piece.pages.some((page) => pages.includes(page))),
      seq,
    );
    pieces.add({ pages });
    pages.forEach((iova, i) => {
      const life: MappedPage = { obj, iova, gpa: inOneSlot ? (gpas[i] ?? null) : null, from: seq, past: null };
      this.mapped.push(life);
      this.#life.set(`${obj} ${iova}`, life);
    });
    for (const page of gpas) this.#held.shared.add(page);
  }

  #inside(row: StoryRow): { touched: Piece[]; whole: Piece[] } {
    const start = Number(row.iova);
    const end = start + Number(row.len);
    const isIn = (page: number): boolean => page >= start && page < end;
    const touched = [...(this.#pieces.get(Number(row.obj)) ?? [])]
      .filter(({ pages }) => pages.some(isIn))
      .sort((a, b) => (a.pages[0] ?? 0) - (b.pages[0] ?? 0));
    return { touched, whole: touched.filter(({ pages }) => pages.every(isIn)) };
  }

  #unmap(row: StoryRow, seq: number): void {
    const obj = Number(row.obj);
    const type1 = row.op === 'vfio_unmap_dma';
    if (type1 && Number(row.flags) === 4) return;
    const all = type1 ? Number(row.flags) === 2 : row.len === 2n ** 64n - 1n;
    if (all) {
      this.#end(obj, [...(this.#pieces.get(obj) ?? [])], seq);
      return;
    }
    const { touched, whole } = this.#inside(row);
    if (row.errno) {
      // iommufd: up to the first that does not fit.
      const stop = touched.findIndex((piece) => !whole.includes(piece));
      this.#end(obj, stop < 0 ? [] : touched.slice(0, stop), seq);
      return;
    }
    this.#end(obj, whole, seq);
    const bytes = whole.reduce((sum, { pages }) => sum + pages.length * PAGE, 0);
    if (row.result === undefined || Number(row.result) <= bytes) return;
    for (const piece of touched) if (!whole.includes(piece)) this.#cut(obj, piece, row, seq);
  }

  /** The compatibility mode, with large pages off: the part goes, what is beside it stays. */
  #cut(obj: number, piece: Piece, row: StoryRow, seq: number): void {
    const start = Number(row.iova);
    const end = start + Number(row.len);
    const pieces = this.#pieces.get(obj);
    pieces?.delete(piece);
    const rest = [piece.pages.filter((page) => page < start), piece.pages.filter((page) => page >= end)];
    for (const pages of rest) if (pages.length > 0) pieces?.add({ pages });
    for (const page of piece.pages) if (page >= start && page < end) this.#over(obj, page, seq);
  }

  #end(obj: number, ended: readonly Piece[], seq: number): void {
    for (const piece of ended) {
      this.#pieces.get(obj)?.delete(piece);
      for (const page of piece.pages) this.#over(obj, page, seq);
    }
  }

  #over(obj: number, page: number, seq: number): void {
    const life = this.#life.get(`${obj} ${page}`);
    if (life) life.past = seq;
  }

  #total(): Totals {
    let [privatePages, sharedPages, doubly, mappings, mappedPages] = [0, 0, 0, 0, 0];
    for (const { isPrivate } of this.#side.values()) {
      if (isPrivate) privatePages++;
      else sharedPages++;
    }
    for (const page of this.#held.private) if (this.#held.shared.has(page)) doubly++;
    for (const pieces of this.#pieces.values()) {
      mappings += pieces.size;
      for (const { pages } of pieces) mappedPages += pages.length;
    }
    return {
      private_bytes: privatePages * PAGE,
      shared_bytes: sharedPages * PAGE,
      private_held_bytes: this.#held.private.size * PAGE,
      shared_held_bytes: this.#held.shared.size * PAGE,
      doubly_held_bytes: doubly * PAGE,
      dma_mapped_bytes: mappedPages * PAGE,
      live_mappings: mappings,
    };
  }

  /** Sides and holds of each page at the moment, for a comparison after the last row. */
  now(): Map<number, { side: string | null; private_held: boolean; shared_held: boolean; dma_mappings: number }> {
    const pages = new Set([...this.#side.keys(), ...this.#held.private, ...this.#held.shared]);
    const state = new Map<
      number,
      { side: string | null; private_held: boolean; shared_held: boolean; dma_mappings: number }
    >();
    const count = new Map<number, number>();
    for (const { gpa, past } of this.mapped)
      if (gpa !== null && past === null) count.set(gpa, (count.get(gpa) ?? 0) + 1);
    for (const page of count.keys()) pages.add(page);
    for (const page of pages) {
      const side = this.#side.get(page);
      const one = {
        side: side ? (side.isPrivate ? 'private' : 'shared') : null,
        private_held: this.#held.private.has(page),
        shared_held: this.#held.shared.has(page),
        dma_mappings: count.get(page) ?? 0,
      };
      if (one.side !== null || one.private_held || one.shared_held || one.dma_mappings > 0) state.set(page, one);
    }
    return state;
  }
}
