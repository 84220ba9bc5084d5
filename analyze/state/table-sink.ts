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

  constructor(connection: TableConnection, trace: number) {
    this.#connection = connection;
    this.#trace = trace;
  }

  slot(slot: Slot, pastNs: number): void {
    const { vm, gpa, len, id, hva, gmem, gmemOffset, flags, fromSeq, pastSeq, fromNs } = slot;
    const cells = [vm, gpa, len, id, hva, gmem, gmemOffset, flags, fromSeq, pastSeq, fromNs, pastNs];
    this.#add('_memslots', ...cells);
  }

  place(seq: number, vm: number, gpa: number, past: number): void {
    this.#add('_places', vm, gpa, past - gpa, seq);
  }

  side(vm: number, gpa: number, past: number, isPrivate: boolean, span: Span): void {
    this.#add('_sides', vm, gpa, past - gpa, isPrivate, ...spanCells(span));
  }

  hold(vm: number, gpa: number, past: number, isPrivate: boolean, span: Span): void {
    this.#add('_holds', vm, gpa, past - gpa, isPrivate, ...spanCells(span));
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
    this.#add('_mappings', api, obj, iova, past - iova, gpa, hva, fromSeq, pastSeq, fromNs, pastNs, endedBy);
  }

  memory(seq: number, ns: number, state: MemoryState): void {
    this.#add(
      '_memory',
      seq,
      ns,
      state.private,
      state.shared,
      state.privateHeld,
      state.sharedHeld,
      state.doublyHeld,
      state.mapped,
      state.pinned,
      state.mappings,
    );
  }

  request(seq: number, vm: number, slotBytes: number, changedBytes: number): void {
    this.#add('_requests', seq, vm, slotBytes, changedBytes);
  }

  vaddrWindow(obj: number, iova: number, past: number, matched: boolean, span: Span): void {
    this.#add('_vaddr_windows', obj, iova, past - iova, matched, ...spanCells(span));
  }

  hazard({ kind, severity, seq, ns, vm, obj, gpa, iova, len, count, ageNs, proof, explanation }: Hazard): void {
    const cells = [kind, severity, seq, ns, vm, obj, gpa, iova, len, count, ageNs, proof.join(','), explanation];
    this.#add('_hazards', ...cells);
  }

  close(): void {
    for (const writer of this.#writers.values()) writer.close();
  }

  #add(table: StateTable, ...cells: readonly Cell[]): void {
    let writer = this.#writers.get(table);
    if (!writer) this.#writers.set(table, (writer = new TableWriter(this.#connection, table)));
    writer.add(this.#trace, ...cells);
  }
}

function spanCells({ fromSeq, pastSeq, fromNs, pastNs }: Span): readonly number[] {
  return [fromSeq, pastSeq, fromNs, pastNs];
}
