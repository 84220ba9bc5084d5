/**
 * Disjoint ranges of addresses in order, each with a value and the row that it dates from. A range that is set replaces what it overlaps, so each
 * call adds at most two pieces and every piece is removed once. Pieces lie in chunks with their sums, which are stepped over as a whole.
 */

const CHUNK_PIECES = 512;
const FIRST_PIECES = 4;

/** A piece is over: [start, end) had `value` since row `seq`, at `ns` (-1: unknown); `extra` is the caller's. */
export type PieceVisitor = (start: number, end: number, value: number, seq: number, ns: number, extra: number) => void;

class Chunk {
  length = 0;
  /** Sum of the pieces' lengths. */
  bytes = 0;
  starts: Float64Array;
  ends: Float64Array;
  values: Uint32Array;
  seqs: Float64Array;
  times: Float64Array;
  extras: Float64Array;

  constructor(capacity: number) {
    this.starts = new Float64Array(capacity);
    this.ends = new Float64Array(capacity);
    this.values = new Uint32Array(capacity);
    this.seqs = new Float64Array(capacity);
    this.times = new Float64Array(capacity);
    this.extras = new Float64Array(capacity);
  }

  /** First piece that ends after `address`. */
  find(address: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.ends[middle] as number) > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  write(at: number, start: number, end: number, value: number, seq: number, ns: number, extra: number): void {
    this.starts[at] = start;
    this.ends[at] = end;
    this.values[at] = value;
    this.seqs[at] = seq;
    this.times[at] = ns;
    this.extras[at] = extra;
  }

  /** Moves the pieces from `from` on to `to`. */
  shift(from: number, to: number): void {
    const { length } = this;
    if (length + to - from > this.starts.length) this.grow(length + to - from);
    for (const column of [this.starts, this.ends, this.values, this.seqs, this.times, this.extras])
      column.copyWithin(to, from, length);
    this.length = length + to - from;
  }

  /** The pieces from `at` on, as a chunk of their own. */
  split(at: number): Chunk {
    const rest = new Chunk(this.starts.length);
    rest.starts.set(this.starts.subarray(at, this.length));
    rest.ends.set(this.ends.subarray(at, this.length));
    rest.values.set(this.values.subarray(at, this.length));
    rest.seqs.set(this.seqs.subarray(at, this.length));
    rest.times.set(this.times.subarray(at, this.length));
    rest.extras.set(this.extras.subarray(at, this.length));
    rest.length = this.length - at;
    this.length = at;
    for (let i = 0; i < rest.length; i++) rest.bytes += (rest.ends[i] as number) - (rest.starts[i] as number);
    this.bytes -= rest.bytes;
    return rest;
  }

  private grow(pieces: number): void {
    const capacity = Math.min(CHUNK_PIECES, Math.max(pieces, this.starts.length * 2));
    const larger = new Chunk(capacity);
    larger.starts.set(this.starts);
    larger.ends.set(this.ends);
    larger.values.set(this.values);
    larger.seqs.set(this.seqs);
    larger.times.set(this.times);
    larger.extras.set(this.extras);
    this.starts = larger.starts;
    this.ends = larger.ends;
    this.values = larger.values;
    this.seqs = larger.seqs;
    this.times = larger.times;
    this.extras = larger.extras;
  }
}

export class RangeList {
  /** Sum of the pieces' lengths. */
  bytes = 0;
  pieces = 0;
  readonly #chunks: Chunk[] = [];

  /** Gives [start, end) a value; `removed` is told of each part that had one. */
  set(start: number, end: number, value: number, seq: number, ns: number, extra = 0, removed?: PieceVisitor): void {
    const index = this.#chunkOf(start);
    const chunk = this.#chunks[index];
    if (chunk !== undefined) {
      const at = chunk.find(start);
      // Most calls are about a range exactly as it was made.
      if (at < chunk.length && chunk.starts[at] === start && chunk.ends[at] === end) {
        removed?.(
          start,
          end,
          chunk.values[at] as number,
          chunk.seqs[at] as number,
          chunk.times[at] as number,
          chunk.extras[at] as number,
        );
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
      if ((chunk.starts[from] as number) >= end) return;
      const goesOn = this.#clearIn(chunk, from, start, end, removed);
      if (chunk.length === 0) this.#chunks.splice(index, 1);
      else index++;
      if (!goesOn) return;
    }
  }

  /** Visits the parts of [start, end) that have a value, cut to it, in order; stops if `visit` returns false. */
  forEach(start: number, end: number, visit: (...piece: Parameters<PieceVisitor>) => boolean | void): void {
    for (let index = this.#chunkOf(start); index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as Chunk;
      for (let at = chunk.find(start); at < chunk.length; at++) {
        const from = chunk.starts[at] as number;
        if (from >= end) return;
        const goesOn = visit(
          Math.max(from, start),
          Math.min(chunk.ends[at] as number, end),
          chunk.values[at] as number,
          chunk.seqs[at] as number,
          chunk.times[at] as number,
          chunk.extras[at] as number,
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
    if (at === chunk.length || (chunk.starts[at] as number) > address) return false;
    visit(
      chunk.starts[at] as number,
      chunk.ends[at] as number,
      chunk.values[at] as number,
      chunk.seqs[at] as number,
      chunk.times[at] as number,
      chunk.extras[at] as number,
    );
    return true;
  }

  /** Bytes of [start, end) that have a value. */
  measure(start: number, end: number): number {
    let bytes = 0;
    for (let index = this.#chunkOf(start); index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as Chunk;
      const last = chunk.length - 1;
      if ((chunk.starts[0] as number) >= end) break;
      if ((chunk.starts[0] as number) >= start && (chunk.ends[last] as number) <= end) {
        bytes += chunk.bytes;
        continue;
      }
      for (let at = chunk.find(start); at <= last; at++) {
        const from = chunk.starts[at] as number;
        if (from >= end) break;
        bytes += Math.min(chunk.ends[at] as number, end) - Math.max(from, start);
      }
    }
    return bytes;
  }

  /** Removes part or all of the pieces of a chunk from `from` on; whether later chunks may have more of the range. */
  #clearIn(chunk: Chunk, from: number, start: number, end: number, removed: PieceVisitor | undefined): boolean {
    let at = from;
    const first = chunk.starts[at] as number;
    const firstEnd = chunk.ends[at] as number;
    if (first < start) {
      const until = Math.min(firstEnd, end);
      const value = chunk.values[at] as number;
      const seq = chunk.seqs[at] as number;
      const ns = chunk.times[at] as number;
      const extra = chunk.extras[at] as number;
      removed?.(start, until, value, seq, ns, extra);
      chunk.ends[at] = start;
      chunk.bytes -= firstEnd - start;
      this.bytes -= firstEnd - start;
      if (firstEnd > end) {
        this.#insert(end, firstEnd, value, seq, ns, extra);
        return false;
      }
      at++;
    }
    let past = at;
    let gone = 0;
    let goesOn = true;
    for (; past < chunk.length; past++) {
      const pieceStart = chunk.starts[past] as number;
      const pieceEnd = chunk.ends[past] as number;
      if (pieceStart >= end) {
        goesOn = false;
        break;
      }
      removed?.(
        pieceStart,
        Math.min(pieceEnd, end),
        chunk.values[past] as number,
        chunk.seqs[past] as number,
        chunk.times[past] as number,
        chunk.extras[past] as number,
      );
      if (pieceEnd > end) {
        chunk.starts[past] = end;
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
      if (((chunks[middle] as Chunk).starts[0] as number) <= address) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}
