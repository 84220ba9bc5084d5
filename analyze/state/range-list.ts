/**
 * Disjoint ranges of addresses in order, each with a value and the row that it dates from. A range that is set replaces what it overlaps, so each
 * call adds at most two pieces and every piece is removed once. Pieces lie in chunks with their sums, which are stepped over as a whole.
 */

const CHUNK_PIECES = 512;
const FIRST_PIECES = 4;

/** A piece is over: [start, end) had `value` since row `seq`, at `ns` (-1: unknown); `extra` is the caller's. */
export type PieceVisitor = (start: number, end: number, value: number, seq: number, ns: number, extra: number) => void;

/** Numbers of a piece, one behind the other. */
const WIDTH = 6;
const START = 0;
const END = 1;
const VALUE = 2;
const SEQ = 3;
const NS = 4;
const EXTRA = 5;

class Chunk {
  length = 0;
  /** Sum of the pieces' lengths. */
  bytes = 0;
  cells: Float64Array;

  constructor(pieces: number) {
    this.cells = new Float64Array(pieces * WIDTH);
  }

  start(at: number): number {
    return this.cells[at * WIDTH] as number;
  }

  end(at: number): number {
    return this.cells[at * WIDTH + END] as number;
  }

  /** First piece that ends after `address`. */
  find(address: number): number {
    const { cells } = this;
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cells[middle * WIDTH + END] as number) > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  write(at: number, start: number, end: number, value: number, seq: number, ns: number, extra: number): void {
    const { cells } = this;
    const base = at * WIDTH;
    cells[base + START] = start;
    cells[base + END] = end;
    cells[base + VALUE] = value;
    cells[base + SEQ] = seq;
    cells[base + NS] = ns;
    cells[base + EXTRA] = extra;
  }

  /** Tells of the part of a piece that is in [from, to). */
  tell(at: number, from: number, to: number, visit: PieceVisitor): void {
    const { cells } = this;
    const base = at * WIDTH;
    visit(
      from,
      to,
      cells[base + VALUE] as number,
      cells[base + SEQ] as number,
      cells[base + NS] as number,
      cells[base + EXTRA] as number,
    );
  }

  /** Moves the pieces from `from` on to `to`. */
  shift(from: number, to: number): void {
    const length = this.length + to - from;
    if (length * WIDTH > this.cells.length) {
      const larger = new Float64Array(Math.min(CHUNK_PIECES, Math.max(length, this.length * 2)) * WIDTH);
      larger.set(this.cells);
      this.cells = larger;
    }
    if (from < this.length) this.cells.copyWithin(to * WIDTH, from * WIDTH, this.length * WIDTH);
    this.length = length;
  }

  /** The pieces from `at` on, as a chunk of their own. */
  split(at: number): Chunk {
    const rest = new Chunk(CHUNK_PIECES);
    rest.cells.set(this.cells.subarray(at * WIDTH, this.length * WIDTH));
    rest.length = this.length - at;
    this.length = at;
    for (let i = 0; i < rest.length; i++) rest.bytes += rest.end(i) - rest.start(i);
    this.bytes -= rest.bytes;
    return rest;
  }
}

export class RangeList {
  /** Sum of the pieces' lengths. */
  bytes = 0;
  pieces = 0;
  readonly #chunks: Chunk[] = [];

  /** Gives [start, end) a value; `removed` is told of each part that had one. */
  set(start: number, end: number, value: number, seq: number, ns: number, extra = 0, removed?: PieceVisitor): void {
    const chunk = this.#chunks[this.#chunkOf(start)];
    if (chunk !== undefined) {
      const at = chunk.find(start);
      // Most calls are about a range exactly as it was made.
      if (at < chunk.length && chunk.start(at) === start && chunk.end(at) === end) {
        if (removed) chunk.tell(at, start, end, removed);
        chunk.write(at, start, end, value, seq, ns, extra);
        return;
      }
    }
    this.clear(start, end, removed);
    this.#insert(start, end, value, seq, ns, extra);
  }

  /** Takes [start, end) away; `removed` is told of each part that had a value. */
  clear(start: number, end: number, removed?: PieceVisitor): void {
    let index = this.#chunkOf(start);
    while (index < this.#chunks.length) {
      const chunk = this.#chunks[index] as Chunk;
      const from = chunk.find(start);
      if (from === chunk.length) {
        index++;
        continue;
      }
      if (chunk.start(from) >= end) return;
      const goesOn = this.#clearIn(chunk, from, start, end, removed);
      if (chunk.length === 0) this.#chunks.splice(index, 1);
      else index++;
      if (!goesOn) return;
    }
  }

  /** Visits the parts of [start, end) that have a value, cut to it, in order; stops if `visit` returns false. */
  forEach(start: number, end: number, visit: (...piece: Parameters<PieceVisitor>) => unknown): void {
    for (let index = this.#chunkOf(start); index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as Chunk;
      const { cells } = chunk;
      for (let at = chunk.find(start); at < chunk.length; at++) {
        const base = at * WIDTH;
        const from = cells[base] as number;
        if (from >= end) return;
        const goesOn = visit(
          from > start ? from : start,
          Math.min(cells[base + END] as number, end),
          cells[base + VALUE] as number,
          cells[base + SEQ] as number,
          cells[base + NS] as number,
          cells[base + EXTRA] as number,
        );
        if (goesOn === false) return;
      }
    }
  }

  /** The piece that holds `address`, whole. False if none does. */
  at(address: number, visit: PieceVisitor): boolean {
    const chunk = this.#chunks[this.#chunkOf(address)];
    if (chunk === undefined) return false;
    const at = chunk.find(address);
    if (at === chunk.length || chunk.start(at) > address) return false;
    chunk.tell(at, chunk.start(at), chunk.end(at), visit);
    return true;
  }

  /** Bytes of [start, end) that have a value. */
  measure(start: number, end: number): number {
    let bytes = 0;
    for (let index = this.#chunkOf(start); index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as Chunk;
      const last = chunk.length - 1;
      if (chunk.start(0) >= end) break;
      if (chunk.start(0) >= start && chunk.end(last) <= end) {
        bytes += chunk.bytes;
        continue;
      }
      for (let at = chunk.find(start); at <= last; at++) {
        const from = chunk.start(at);
        if (from >= end) break;
        bytes += Math.min(chunk.end(at), end) - Math.max(from, start);
      }
    }
    return bytes;
  }

  /** Removes part or all of the pieces of a chunk from `from` on; whether later chunks may have more of the range. */
  #clearIn(chunk: Chunk, from: number, start: number, end: number, removed: PieceVisitor | undefined): boolean {
    let at = from;
    const firstEnd = chunk.end(at);
    if (chunk.start(at) < start) {
      if (removed) chunk.tell(at, start, Math.min(firstEnd, end), removed);
      chunk.cells[at * WIDTH + END] = start;
      chunk.bytes -= firstEnd - start;
      this.bytes -= firstEnd - start;
      if (firstEnd > end) {
        chunk.tell(at, end, firstEnd, (...rest) => this.#insert(...rest));
        return false;
      }
      at++;
    }
    let past = at;
    let gone = 0;
    let goesOn = true;
    for (; past < chunk.length; past++) {
      const pieceStart = chunk.start(past);
      if (pieceStart >= end) {
        goesOn = false;
        break;
      }
      const pieceEnd = chunk.end(past);
      if (removed) chunk.tell(past, pieceStart, Math.min(pieceEnd, end), removed);
      if (pieceEnd > end) {
        chunk.cells[past * WIDTH] = end;
        gone += end - pieceStart;
        goesOn = false;
        break;
      }
      gone += pieceEnd - pieceStart;
    }
    if (past > at) {
      chunk.shift(past, at);
      this.pieces -= past - at;
    }
    chunk.bytes -= gone;
    this.bytes -= gone;
    return goesOn;
  }

  /** Inserts a piece where there is none. */
  #insert(start: number, end: number, value: number, seq: number, ns: number, extra: number): void {
    this.pieces++;
    this.bytes += end - start;
    let index = Math.min(this.#chunkOf(start), this.#chunks.length - 1);
    if (index < 0) {
      this.#chunks.push(new Chunk(FIRST_PIECES));
      index = 0;
    }
    let chunk = this.#chunks[index] as Chunk;
    let at = chunk.find(start);
    if (chunk.length === CHUNK_PIECES) {
      // In the order of addresses a chunk is left full, not half empty.
      const half = at === chunk.length ? chunk.length : chunk.length >> 1;
      const rest = half === chunk.length ? new Chunk(CHUNK_PIECES) : chunk.split(half);
      this.#chunks.splice(index + 1, 0, rest);
      if (at >= half) {
        chunk = rest;
        at -= half;
      }
    }
    chunk.shift(at, at + 1);
    chunk.write(at, start, end, value, seq, ns, extra);
    chunk.bytes += end - start;
  }

  /** The last chunk that begins at or before `address`, else the first: only it and those after it can hold pieces that end after `address`. */
  #chunkOf(address: number): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((chunks[middle] as Chunk).start(0) <= address) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}
