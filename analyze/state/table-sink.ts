import { TableWriter, type Cell, type TableConnection } from '../db/table-writer.ts';
import type { DmaApi, EndedBy } from './dma-space.ts';
import type { Hazard, MemoryState, Span, StateSink } from './sink.ts';
import type { Slot } from './slots.ts';
import type { StateTable } from './tables.ts';

/** Writes what a walk finds into the state tables. */
export class TableSink implements StateSink {
  readonly #connection: TableConnection;
  readonly #trace: number;
  readonly #writers = new Map<StateTable, TableWriter>();
  readonly #memoryCells: Cell[] = [];
  readonly #rangeCells: Cell[] = [];

  constructor(connection: TableConnection, trace: number) {
    this.#connection = connection;
    this.#trace = trace;
  }

  slot(slot: Slot, pastNs: number): void {
    const { vm, gpa, len, id, hva, gmem, gmemOffset, flags, fromSeq, pastSeq, fromNs } = slot;
    const place = [this.#trace, vm, gpa, len];
    this.#add('_memslots', [...place, id, hva, gmem, gmemOffset, flags, fromSeq, pastSeq, fromNs, pastNs]);
  }

  place(seq: number, vm: number, gpa: number, past: number): void {
    this.#add('_places', [this.#trace, vm, gpa, past - gpa, seq]);
  }

  side(vm: number, gpa: number, past: number, isPrivate: boolean, span: Span): void {
    this.#add('_sides', this.#range(vm, gpa, past, isPrivate, span));
  }

  hold(vm: number, gpa: number, past: number, isPrivate: boolean, span: Span): void {
    this.#add('_holds', this.#range(vm, gpa, past, isPrivate, span));
  }

  mapping(
    api: DmaApi,
    obj: number,
    iova: number,
    past: number,
    gpa: number,
    hva: number,
    { fromSeq, fromNs, pastSeq, pastNs }: Span,
    endedBy: EndedBy | undefined,
  ): void {
    const where = [this.#trace, api, obj, iova, past - iova, gpa, hva];
    this.#add('_mappings', [...where, fromSeq, pastSeq, fromNs, pastNs, endedBy]);
  }

  memory(seq: number, ns: number, state: MemoryState): void {
    const cells = this.#memoryCells;
    cells[0] = this.#trace;
    cells[1] = seq;
    cells[2] = ns;
    cells[3] = state.private;
    cells[4] = state.shared;
    cells[5] = state.privateHeld;
    cells[6] = state.sharedHeld;
    cells[7] = state.doublyHeld;
    cells[8] = state.mapped;
    cells[9] = state.pinned;
    cells[10] = state.mappings;
    this.#add('_memory', cells);
  }

  request(seq: number, vm: number, slotBytes: number, changedBytes: number): void {
    this.#add('_requests', [this.#trace, seq, vm, slotBytes, changedBytes]);
  }

  vaddrWindow(obj: number, iova: number, past: number, matched: boolean, span: Span): void {
    const { fromSeq, pastSeq, fromNs, pastNs } = span;
    this.#add('_vaddr_windows', [this.#trace, obj, iova, past - iova, matched, fromSeq, pastSeq, fromNs, pastNs]);
  }

  hazard({ kind, severity, seq, ns, vm, obj, gpa, iova, len, count, ageNs, proof, explanation }: Hazard): void {
    const where = [this.#trace, kind, severity, seq, ns, vm, obj, gpa, iova, len, count];
    this.#add('_hazards', [...where, ageNs, proof.join(','), explanation]);
  }

  close(): void {
    for (const writer of this.#writers.values()) writer.close();
  }

  /** The same array each time. */
  #range(vm: number, gpa: number, past: number, isPrivate: boolean, span: Span): readonly Cell[] {
    const cells = this.#rangeCells;
    cells[0] = this.#trace;
    cells[1] = vm;
    cells[2] = gpa;
    cells[3] = past - gpa;
    cells[4] = isPrivate;
    cells[5] = span.fromSeq;
    cells[6] = span.pastSeq;
    cells[7] = span.fromNs;
    cells[8] = span.pastNs;
    return cells;
  }

  #add(table: StateTable, cells: readonly Cell[]): void {
    let writer = this.#writers.get(table);
    if (!writer) this.#writers.set(table, (writer = new TableWriter(this.#connection, table)));
    writer.add(cells);
  }
}
