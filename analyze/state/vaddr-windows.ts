/**
 * The time in which mappings have no virtual address: from VFIO_IOMMU_UNMAP_DMA with VFIO_DMA_UNMAP_FLAG_VADDR to VFIO_IOMMU_MAP_DMA with
 * VFIO_DMA_MAP_FLAG_VADDR (linux/vfio.h), as in an update of the VMM.
 */
import type { Mapping } from './dma-space.ts';
import { RangeList } from './range-list.ts';
import type { StateSink } from './sink.ts';
import { counted, range } from './words.ts';

type Piece = [from: number, to: number, value: number, seq: number, ns: number, extra: number];

export class VaddrWindows {
  readonly #sink: StateSink;
  readonly #open = new Map<number, RangeList>();

  constructor(sink: StateSink) {
    this.#sink = sink;
  }

  /** Bytes of a container that have no virtual address. */
  bytes(obj: number): number {
    return this.#open.get(obj)?.bytes ?? 0;
  }

  opened(obj: number, mappings: readonly Mapping[], seq: number, ns: number): void {
    let windows = this.#open.get(obj);
    if (!windows) this.#open.set(obj, (windows = new RangeList()));
    for (const { iova, past } of mappings) windows.set(iova, past, 0, seq, ns);
  }

  /** [iova, past) has a virtual address again. */
  closed(obj: number, iova: number, past: number, seq: number, ns: number): void {
    const windows = this.#open.get(obj);
    if (!windows) return;
    const found: Piece[] = [];
    windows.forEach(iova, past, (from) => {
      windows.at(from, (...piece) => found.push(piece));
    });
    const first = found[0];
    if (!first) return;
    if (found.length === 1 && first[0] === iova && first[1] === past) {
      this.#tell(obj, first, true, seq, ns);
    } else {
      for (const piece of found) this.#tell(obj, piece, false, seq, ns);
      this.#hazard(obj, found, seq, ns, 'get a virtual address for another range than the one that gave it up');
    }
    for (const [from, to] of found) windows.clear(from, to);
  }

  /** Something happens to [iova, past) of a container (-1: of any). */
  touched(obj: number, iova: number, past: number, seq: number, ns: number, what: string): void {
    if (this.#open.size === 0) return;
    for (const [owner, windows] of this.#open) {
      if (obj >= 0 && owner !== obj) continue;
      const found: Piece[] = [];
      windows.forEach(iova, past, (from) => {
        windows.at(from, (...piece) => found.push(piece));
      });
      if (found.length === 0) continue;
      for (const piece of found) {
        this.#tell(owner, piece, false, seq, ns);
        windows.clear(piece[0], piece[1]);
      }
      this.#hazard(owner, found, seq, ns, `are ${what} while they have no virtual address`);
    }
  }

  /** The container is closed. */
  gone(obj: number, seq: number, ns: number): void {
    this.#rest(obj, seq, ns);
    this.#open.delete(obj);
  }

  end(): void {
    for (const obj of this.#open.keys()) this.#rest(obj, -1, -1);
  }

  #rest(obj: number, seq: number, ns: number): void {
    const bySeq = new Map<number, Piece[]>();
    this.#open.get(obj)?.forEach(0, Infinity, (...piece) => {
      this.#tell(obj, piece, false, seq, ns);
      const pieces = bySeq.get(piece[3]);
      if (pieces) pieces.push(piece);
      else bySeq.set(piece[3], [piece]);
    });
    for (const pieces of bySeq.values()) this.#hazard(obj, pieces, seq, ns, 'never get a virtual address again');
  }

  #hazard(obj: number, pieces: readonly Piece[], seq: number, ns: number, what: string): void {
    const first = pieces[0];
    if (!first) return;
    const [from, to, , openedSeq, openedNs] = first;
    const at = seq < 0 ? openedSeq : seq;
    this.#sink.hazard({
      kind: 'vaddr_window',
      severity: 'warning',
      seq: at,
      ns: seq < 0 ? openedNs : ns,
      obj,
      iova: from,
      len: pieces.reduce((sum, [start, end]) => sum + end - start, 0),
      count: pieces.length,
      ...(seq >= 0 && ns >= 0 && openedNs >= 0 && { ageNs: ns - openedNs }),
      proof: at === openedSeq ? [openedSeq] : [openedSeq, at],
      explanation: `${counted(pieces.length, 'mapping')} from ${range(from, to)} ${what}`,
    });
  }

  #tell(obj: number, [from, to, , fromSeq, fromNs]: Piece, matched: boolean, pastSeq: number, pastNs: number): void {
    this.#sink.vaddrWindow(obj, from, to, matched, { fromSeq, fromNs, pastSeq, pastNs });
  }
}
