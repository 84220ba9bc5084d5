/**
 * Protobuf's wire format (https://protobuf.dev/programming-guides/encoding), as far as a trace of Perfetto needs it: numbers, text and messages
 * within messages. By hand, because a library's messages are objects: one per event and argument, where here each number goes from DuckDB's
 * column to the bytes of the file.
 */

const VARINT = 0;
const LENGTH_DELIMITED = 2;

/** Bytes of the longest varint, and of the longest key or length. */
const MAX_VARINT_BYTES = 10;

const FIRST_BYTES = 64 * 1024;

/** Writes messages one behind the other into memory that grows as they need it. */
export class ProtoWriter {
  readonly #encoder = new TextEncoder();
  #bytes = new Uint8Array(FIRST_BYTES);
  #length = 0;

  /** Bytes that `take` would return. */
  get length(): number {
    return this.#length;
  }

  /** An unsigned number (uint32, uint64, bool, enum; int32 and int64 that are not negative) below 2^53. */
  uint(field: number, value: number): void {
    this.halves(field, value >>> 0, Math.floor(value / 2 ** 32));
  }

  /** A 64-bit number by its halves; a negative int64 is its two's complement. */
  halves(field: number, low: number, high: number): void {
    this.#reserve(2 * MAX_VARINT_BYTES);
    this.#varint((field << 3) | VARINT);
    while (high !== 0) {
      this.#bytes[this.#length++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#varint(low);
  }

  /** Text as UTF-8. */
  string(field: number, text: string): void {
    const body = this.begin(field);
    this.#reserve(3 * text.length);
    this.#length += this.#encoder.encodeInto(text, this.#bytes.subarray(this.#length)).written;
    this.end(body);
  }

  /** Begins a message within the message; what is written until `end` is given the returned place is in it. */
  begin(field: number): number {
    this.#reserve(2 * MAX_VARINT_BYTES);
    this.#varint((field << 3) | LENGTH_DELIMITED);
    return ++this.#length;
  }

  /** Ends the message that `begin` returned `body` for. Most are shorter than 128 bytes, so that its one byte is enough for the length. */
  end(body: number): void {
    const size = this.#length - body;
    if (size >= 0x80) {
      const shift = Math.floor(Math.log2(size) / 7);
      this.#reserve(shift);
      this.#bytes.copyWithin(body + shift, body, this.#length);
    }
    this.#length = body - 1;
    this.#varint(size);
    this.#length += size;
  }

  /** What was written since the last call; the caller owns it. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }

  #varint(value: number): void {
    while (value > 0x7f) {
      this.#bytes[this.#length++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    this.#bytes[this.#length++] = value;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
