/**
 * Reads tables out of a flatbuffer that may be anything: every access is checked against the buffer, and a vector's length against the bytes
 * behind it, so that damage becomes an error and never a loop, a huge allocation or a wrong address. (The accessors that apache-arrow generates
 * trust their input.) Layout: https://flatbuffers.dev/internals/
 */

/** The bytes are not what they say they are. */
export class FlatbufferError extends Error {}

/** A vector inside a flatbuffer: position of the first element, and how many. */
interface FlatVector {
  readonly at: number;
  readonly length: number;
}

export class FlatTable {
  readonly #view: DataView;
  readonly #at: number;
  readonly #vtable: number;
  readonly #vtableBytes: number;

  /** The buffer's root table. */
  static root(bytes: Uint8Array): FlatTable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    checkRange(view, 0, 4);
    return new FlatTable(view, view.getUint32(0, true));
  }

  private constructor(view: DataView, at: number) {
    this.#view = view;
    this.#at = at;
    this.#check(at, 4);
    this.#vtable = at - view.getInt32(at, true);
    this.#check(this.#vtable, 4);
    this.#vtableBytes = view.getUint16(this.#vtable, true);
    this.#check(this.#vtable, this.#vtableBytes);
  }

  /** Value of a scalar field, by its number in the table's definition. */
  bool(field: number): boolean {
    return this.uint8(field, 0) !== 0;
  }

  uint8(field: number, absent: number): number {
    const at = this.#field(field, 1);
    return at === undefined ? absent : this.#view.getUint8(at);
  }

  int16(field: number, absent: number): number {
    const at = this.#field(field, 2);
    return at === undefined ? absent : this.#view.getInt16(at, true);
  }

  int32(field: number, absent: number): number {
    const at = this.#field(field, 4);
    return at === undefined ? absent : this.#view.getInt32(at, true);
  }

  /** A 64-bit value that must be a count or a size: 0 to 2^53 - 1. */
  size(field: number): number {
    const at = this.#field(field, 8);
    return at === undefined ? 0 : this.sizeAt(at);
  }

  /** The same at a position that `structs` gave. */
  sizeAt(at: number): number {
    this.#check(at, 8);
    const value = this.#view.getBigUint64(at, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FlatbufferError(`size or offset of ${value}`);
    return Number(value);
  }

  int32At(at: number): number {
    this.#check(at, 4);
    return this.#view.getInt32(at, true);
  }

  table(field: number): FlatTable | undefined {
    const at = this.#field(field, 4);
    return at === undefined ? undefined : new FlatTable(this.#view, this.#follow(at));
  }

  text(field: number, maxBytes: number): string | undefined {
    const at = this.#field(field, 4);
    if (at === undefined) return undefined;
    const { at: start, length } = this.#vector(at, 1);
    if (length > maxBytes) throw new FlatbufferError(`a text of ${length} bytes`);
    return Buffer.from(this.#view.buffer, this.#view.byteOffset + start, length).toString('utf8');
  }

  tables(field: number): FlatTable[] {
    const at = this.#field(field, 4);
    if (at === undefined) return [];
    const vector = this.#vector(at, 4);
    return Array.from({ length: vector.length }, (_, i) => new FlatTable(this.#view, this.#follow(vector.at + i * 4)));
  }

  /** Number of elements of a vector of tables or structs, without a look at them. */
  count(field: number, elementBytes: number): number {
    return this.structs(field, elementBytes).length;
  }

  /** A vector of structs of `elementBytes` each, for `sizeAt` and `int32At`. */
  structs(field: number, elementBytes: number): FlatVector {
    const at = this.#field(field, 4);
    return at === undefined ? { at: 0, length: 0 } : this.#vector(at, elementBytes);
  }

  /** Position of a field's value; undefined if the table does not have it. */
  #field(field: number, bytes: number): number | undefined {
    const slot = 4 + field * 2;
    if (slot + 2 > this.#vtableBytes) return undefined;
    const offset = this.#view.getUint16(this.#vtable + slot, true);
    if (offset === 0) return undefined;
    this.#check(this.#at + offset, bytes);
    return this.#at + offset;
  }

  #vector(at: number, elementBytes: number): FlatVector {
    const start = this.#follow(at);
    this.#check(start, 4);
    const length = this.#view.getUint32(start, true);
    this.#check(start + 4, length * elementBytes);
    return { at: start + 4, length };
  }

  /** References only point forward, so that no chain of them can be a circle. */
  #follow(at: number): number {
    const offset = this.#view.getUint32(at, true);
    if (offset === 0) throw new FlatbufferError('a reference that points to itself');
    return at + offset;
  }

  #check(at: number, bytes: number): void {
    checkRange(this.#view, at, bytes);
  }
}

function checkRange(view: DataView, at: number, bytes: number): void {
  if (at < 0 || at + bytes > view.byteLength) {
    throw new FlatbufferError(`a reference to byte ${at + bytes} of ${view.byteLength}`);
  }
}
