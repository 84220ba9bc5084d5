/**
 * What the kernel's tracepoints iommu:map and iommu:unmap say beside the calls of a VMM: mappings that the kernel kept after the VMM gave them up
 * (deferred unmaps, a leak), and accesses of devices to what was unmapped (iommu:io_page_fault).
 */
import type { DmaSpace, Mapping } from './dma-space.ts';
import { RangeList } from './range-list.ts';
import type { StateSink } from './sink.ts';
import type { StateRow } from './state-row.ts';
import { hex, range } from './words.ts';

/** A call that mapped, the last one of its thread. */
interface MapCall {
  readonly seq: number;
  readonly ts: number;
  readonly end: number;
  readonly iova: number;
  readonly past: number;
  readonly obj: number;
}

/** An unmap of the VMM after which the kernel had something of it mapped still. */
interface Late {
  readonly ns: number;
  readonly obj: number;
  readonly iova: number;
  past: number;
  ageNs: number;
  /** The kernel's unmap; -1 if it never came. */
  seq: number;
}

const MAX_THREADS = 65_536;

export class KernelMappings {
  readonly #sink: StateSink;
  readonly #hasUnmaps: boolean;
  readonly #isLost: () => boolean;
  readonly #hasFaults: boolean;
  readonly #calls = new Map<number, MapCall>();
  #lastCall: MapCall | undefined;
  /** Value: 1 if a VMM's call mapped it; extra: that call's container. */
  readonly #kernel = new RangeList();
  /** Given up by the VMM, mapped by the kernel. Extra: container. */
  readonly #awaited = new RangeList();
  /** What was unmapped last at each iova. */
  readonly #unmapped = new RangeList();
  readonly #late = new Map<number, Late>();
  /** The VMM's unmaps that are awaited. */
  readonly #unmaps = new Map<number, { readonly ts: number; readonly tid: number; readonly calls: number }>();
  /** Calls of each thread so far: a call is over when its thread makes the next. */
  readonly #threadCalls = new Map<number, number>();

  /** @param isLost whether rows are missing so far */
  constructor(sink: StateSink, hasUnmaps: boolean, hasFaults: boolean, isLost: () => boolean) {
    this.#isLost = isLost;
    this.#sink = sink;
    this.#hasUnmaps = hasUnmaps;
    this.#hasFaults = hasFaults;
  }

  /** Is told of every row before all else. */
  follows(row: StateRow): void {
    if (!this.#hasUnmaps || row.op.startsWith('iommu_')) return;
    const calls = this.#threadCalls.get(row.tid);
    if (calls === undefined && this.#threadCalls.size >= MAX_THREADS) return;
    this.#threadCalls.set(row.tid, (calls ?? 0) + 1);
    this.#calls.delete(row.tid);
  }

  /** A VMM's call has mapped [iova, past). */
  called(row: StateRow, iova: number, past: number): void {
    if (!this.#hasUnmaps) return;
    const call = { seq: row.seq, ts: row.ts, end: row.dur < 0 ? -1 : row.end, iova, past, obj: row.obj };
    this.#lastCall = call;
    if (this.#calls.size < MAX_THREADS) this.#calls.set(row.tid, call);
  }

  /** iommu:map */
  mapped(row: StateRow): void {
    const past = row.iova + row.len;
    if (row.iova < 0 || !(row.len > 0)) return;
    // Other users of the DMA API make the same events: only those inside a VMM's call are its own.
    const call = this.#calls.get(row.tid) ?? (row.tid < 0 ? this.#lastCall : undefined);
    const inTime = call !== undefined && (row.ts < 0 || call.end < 0 || (row.ts >= call.ts && row.ts <= call.end));
    const owned = call !== undefined && inTime && row.iova >= call.iova && past <= call.past;
    this.#awaited.clear(row.iova, past);
    this.#kernel.set(row.iova, past, owned ? 1 : 0, row.seq, row.ts, call?.obj ?? -1, (...piece) => {
      this.#tell(piece, row.seq, row.ts, 'replaced');
    });
  }

  /** A VMM's call has given up mappings. */
  released(space: DmaSpace, gone: readonly Mapping[], row: StateRow): void {
    for (const { iova, past } of gone) {
      if (this.#hasFaults) this.#unmapped.set(iova, past, 0, row.seq, row.end, space.obj);
      if (!this.#hasUnmaps) continue;
      this.#kernel.forEach(iova, past, (from, to, owned, _seq, _ns, obj) => {
        if (owned !== 1 || obj !== space.obj) return;
        this.#awaited.set(from, to, 0, row.seq, row.end, obj);
        if (this.#unmaps.size < MAX_THREADS)
          this.#unmaps.set(row.seq, { ts: row.ts, tid: row.tid, calls: this.#threadCalls.get(row.tid) ?? 0 });
      });
    }
  }

  /** iommu:unmap; `result` is the size that was really unmapped. */
  unmapped(row: StateRow): void {
    const len = row.result > 0 && row.result < row.len ? row.result : row.len;
    const past = row.iova + len;
    if (row.iova < 0 || !(len > 0)) return;
    this.#kernel.clear(row.iova, past, (...piece) => this.#tell(piece, row.seq, row.ts, 'unmap'));
    this.#awaited.clear(row.iova, past, (from, to, _value, seq, ns, obj) => {
      const timed = row.ts >= 0 && ns >= 0;
      if (timed ? row.ts > ns : this.#isOver(seq)) this.#addLate(seq, obj, from, to, timed ? row.ts - ns : -1, row.seq);
    });
  }

  /** iommu:io_page_fault at what nobody has mapped now. */
  faulted(row: StateRow): void {
    this.#unmapped.at(row.iova, (from, past, _value, seq, ns, obj) => {
      const age = row.ts >= 0 && ns >= 0 ? row.ts - ns : undefined;
      this.#sink.hazard({
        kind: 'access_after_unmap',
        severity: 'error',
        seq: row.seq,
        ns: row.ts,
        obj,
        iova: row.iova,
        len: past - from,
        count: 1,
        ...(age !== undefined && { ageNs: age }),
        proof: [seq, row.seq],
        explanation: `a device accesses iova ${hex(row.iova)} after it was unmapped (row ${seq})`,
      });
    });
  }

  end(): void {
    this.#kernel.clear(0, Infinity, (...piece) => this.#tell(piece, -1, -1, undefined));
    if (this.#hasUnmaps)
      this.#awaited.clear(0, Infinity, (from, to, _value, seq, _ns, obj) => {
        this.#addLate(seq, obj, from, to, -1, -1);
      });
    for (const [seq, { ns, obj, iova, past, ageNs, seq: kernelSeq }] of this.#late) {
      this.#sink.hazard({
        kind: 'kernel_mapped_longer',
        severity: this.#isLost() ? 'note' : 'warning',
        seq,
        ns,
        obj,
        iova,
        len: past - iova,
        ...(ageNs >= 0 && { ageNs }),
        proof: kernelSeq < 0 ? [seq] : [seq, kernelSeq],
        explanation:
          kernelSeq < 0
            ? `the kernel never unmaps ${range(iova, past)} although the VMM gave it up`
            : `the kernel unmaps ${range(iova, past)} after the VMM's unmap has returned`,
      });
    }
  }

  /** Whether the call of this row has returned, as far as the order of rows says. */
  #isOver(seq: number): boolean {
    const unmap = this.#unmaps.get(seq);
    return unmap !== undefined && (this.#threadCalls.get(unmap.tid) ?? 0) > unmap.calls;
  }

  #addLate(seq: number, obj: number, from: number, to: number, ageNs: number, kernelSeq: number): void {
    const late = this.#late.get(seq);
    if (!late) {
      if (this.#late.size < MAX_THREADS)
        this.#late.set(seq, { ns: this.#unmaps.get(seq)?.ts ?? -1, obj, iova: from, past: to, ageNs, seq: kernelSeq });
      return;
    }
    late.past = Math.max(late.past, to);
    late.seq = late.seq < 0 || kernelSeq < 0 ? -1 : kernelSeq;
    late.ageNs = late.seq < 0 ? -1 : Math.max(late.ageNs, ageNs);
  }

  #tell(
    [from, to, , fromSeq, fromNs]: [number, number, number, number, number, number],
    pastSeq: number,
    pastNs: number,
    by: 'unmap' | 'replaced' | undefined,
  ): void {
    this.#sink.mapping('kernel', -1, from, to, -1, -1, { fromSeq, fromNs, pastSeq, pastNs }, by);
  }
}
