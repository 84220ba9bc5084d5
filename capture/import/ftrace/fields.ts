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
 * "vcpu 0, rip 0x10". How a value is to be read is known by who asks for it. The text is looked through only as far as the fields that are asked for.
 */
export class Fields {
  readonly #cursor: Cursor;
  readonly #keys = new Int32Array(MAX_FIELDS);
  readonly #values = new Int32Array(MAX_FIELDS);
  #count = 0;
  /** From here on the text was not looked at. */
  #at = 0;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  /** The fields are those from the cursor on. */
  begin(): void {
    this.#count = 0;
    this.#at = this.#cursor.at;
  }

  /** Moves the cursor to the value of the first field of this name (its `wordHash`). */
  find(key: number): boolean {
    const keys = this.#keys;
    for (let i = 0; i < this.#count; i++) {
      if (keys[i] !== key) continue;
      this.#cursor.at = this.#values[i] ?? 0;
      return true;
    }
    const { at } = this.#cursor;
    while (this.#count < MAX_FIELDS && this.#next()) {
      if (keys[this.#count - 1] !== key) continue;
      this.#cursor.at = this.#values[this.#count - 1] ?? 0;
      return true;
    }
    this.#cursor.at = at;
    return false;
  }

  /** Looks at the text up to the next field. */
  #next(): boolean {
    const cursor = this.#cursor;
    const { bytes, end } = cursor;
    let at = this.#at;
    for (;;) {
      while (at < end && !isWordByte(bytes[at] ?? 0)) at++;
      cursor.at = at;
      const first = bytes[at] ?? 0;
      const key = cursor.word();
      if (key === 0) {
        this.#at = end;
        return false;
      }
      if (first >= ZERO && first <= NINE) {
        at = cursor.at;
        continue;
      }
      const hasSign = cursor.skipByte(EQUALS) || cursor.skipByte(COLON);
      cursor.spaces();
      this.#keys[this.#count] = key;
      this.#values[this.#count++] = cursor.at;
      if (hasSign) this.#skipValue();
      this.#at = cursor.at;
      return true;
    }
  }

  /** A value can look like a name ("cmd: ae80"); what is followed by a sign of its own is one ("IOMMU: iova=0x0"). */
  #skipValue(): void {
    const cursor = this.#cursor;
    const { at } = cursor;
    cursor.skipByte(MINUS);
    while (isWordByte(cursor.peek())) cursor.at++;
    const next = cursor.peek();
    if (next === EQUALS || next === COLON) cursor.at = at;
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
