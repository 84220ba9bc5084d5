import { isWordByte, type Cursor } from '../cursor.ts';

const EQUALS = 0x3d;
const COLON = 0x3a;
const ZERO = 0x30;
const NINE = 0x39;
const MINUS = 0x2d;

/** More fields than any event of interest has. */
const MAX_FIELDS = 24;

/**
 * The named values in an event's text, in all the ways that kernel, trace-cmd and perf print them: "fd: 0x05, mode: 1", "nr 0xc a0 0x0", "iova=0x1000",
 * "vcpu 0, rip 0x10". `scan` finds where the values are; how a value is to be read is known by who asks for it.
 */
export class Fields {
  readonly #cursor: Cursor;
  readonly #keys = new Int32Array(MAX_FIELDS);
  readonly #values = new Int32Array(MAX_FIELDS);
  #count = 0;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  /** Finds the fields from the cursor on, which does not move. */
  scan(): void {
    const cursor = this.#cursor;
    const { bytes, at: start, end } = cursor;
    this.#count = 0;
    while (this.#count < MAX_FIELDS) {
      while (cursor.at < end && !isWordByte(bytes[cursor.at] ?? 0)) cursor.at++;
      const first = bytes[cursor.at] ?? 0;
      const key = cursor.word();
      if (key === 0) break;
      if (first >= ZERO && first <= NINE) continue;
      const hasSign = cursor.skipByte(EQUALS) || cursor.skipByte(COLON);
      cursor.spaces();
      this.#keys[this.#count] = key;
      this.#values[this.#count++] = cursor.at;
      if (hasSign) this.#skipValue();
    }
    cursor.at = start;
  }

  /** A value can look like a name ("cmd: ae80"); what is followed by a sign of its own is one ("IOMMU: iova=0x0"). */
  #skipValue(): void {
    const cursor = this.#cursor;
    const { at } = cursor;
    cursor.skipByte(MINUS);
    cursor.word();
    const next = cursor.peek();
    if (next === EQUALS || next === COLON) cursor.at = at;
  }

  /** Moves the cursor to the value of the first field of this name (its `wordHash`). */
  find(key: number): boolean {
    for (let i = 0; i < this.#count; i++) {
      if (this.#keys[i] !== key) continue;
      this.#cursor.at = this.#values[i] ?? 0;
      return true;
    }
    return false;
  }

  /** Reads a value to the cursor's lo and hi, hexadecimal with or without 0x. False if there is no such field or no such number. */
  hex(key: number): boolean {
    return this.find(key) && this.#cursor.hex() && this.#isWhole();
  }

  /** As C writes numbers: hexadecimal after 0x, decimal without; can be negative. */
  number(key: number): boolean {
    return this.find(key) && this.#cursor.number() && this.#isWhole();
  }

  /** A cut "0x" is no 0, and "12ab" no 12. */
  #isWhole(): boolean {
    return !isWordByte(this.#cursor.peek());
  }
}
