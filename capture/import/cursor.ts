const TAB = 0x09;
const SPACE = 0x20;
const MINUS = 0x2d;
const ZERO = 0x30;
const X = 0x78;
const TWO_TO_32 = 0x1_0000_0000;

/** Value of a hexadecimal digit by its byte; 255 for all other bytes. */
const HEX_VALUE = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase());
  return digit < 0 || byte > 0x7f ? 255 : digit;
});

/** 1 for the bytes of an identifier: letters, digits, underscore. */
const IN_WORD = Uint8Array.from({ length: 256 }, (_, byte) => (/\w/.test(String.fromCharCode(byte)) ? 1 : 0));

/** The bytes of an ASCII text, to be made once and compared often. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** What `Cursor.word` returns for this identifier. */
export function wordHash(word: string): number {
  const bytes = bytesOf(word);
  return new Cursor().reset(bytes, 0, bytes.length).word();
}

/** True for letters, digits and underscore: a number or identifier may go on after such a byte. */
export function isWordByte(byte: number): boolean {
  return IN_WORD[byte] === 1;
}

/**
 * A position in bytes, and the last number that was read there. Reading makes no strings and no objects: an import looks at every byte of files of
 * many GiB. The methods that return false have not moved.
 */
export class Cursor {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;
  /** The last number, as two unsigned halves of 32 bits. */
  lo = 0;
  hi = 0;
  /** The last word is bytes[wordStart, wordEnd). */
  wordStart = 0;
  wordEnd = 0;
  /** The bytes may go on after `end` (a cut line): a number or word that reaches it is not there. */
  openEnd = false;

  reset(bytes: Uint8Array, start: number, end: number): this {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    return this;
  }

  /** The byte here; -1 at the end. */
  peek(): number {
    return this.at < this.end ? (this.bytes[this.at] ?? -1) : -1;
  }

  /** True if `literal` is here. */
  looking(literal: Uint8Array): boolean {
    const { bytes, at } = this;
    const { length } = literal;
    if (at + length > this.end) return false;
    for (let i = 0; i < length; i++) if (bytes[at + i] !== literal[i]) return false;
    return true;
  }

  /** Moves past `literal` if it is here. */
  skip(literal: Uint8Array): boolean {
    if (!this.looking(literal)) return false;
    this.at += literal.length;
    return true;
  }

  /** Moves past this byte if it is here. */
  skipByte(byte: number): boolean {
    if (this.at >= this.end || this.bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  /** Moves past blanks and tabs. */
  spaces(): void {
    const { bytes, end } = this;
    let at = this.at;
    while (at < end && (bytes[at] === SPACE || bytes[at] === TAB)) at++;
    this.at = at;
  }

  /** Moves to the next such byte. */
  find(byte: number): boolean {
    const { bytes, end } = this;
    for (let at = this.at; at < end; at++) {
      if (bytes[at] !== byte) continue;
      this.at = at;
      return true;
    }
    return false;
  }

  /** Moves behind the next `literal`. */
  findPast(literal: Uint8Array): boolean {
    const start = this.at;
    const first = literal[0] ?? 0;
    while (this.find(first)) {
      if (this.skip(literal)) return true;
      this.at++;
    }
    this.at = start;
    return false;
  }

  /** Reads a hexadecimal number, with or without 0x. False if there is no digit, or if it has more than 64 bits. */
  hex(): boolean {
    const { bytes, end } = this;
    const start = this.#has0x() ? this.at + 2 : this.at;
    let at = start;
    let lo = 0;
    let hi = 0;
    for (; at < end; at++) {
      const digit = HEX_VALUE[bytes[at] ?? 0] ?? 255;
      if (digit === 255) break;
      if (hi >= 0x1000_0000) return false;
      hi = ((hi << 4) | (lo >>> 28)) >>> 0;
      lo = ((lo << 4) | digit) >>> 0;
    }
    return at > start && this.#accept(at, lo, hi);
  }

  /** Reads a decimal number without a sign. False if there is no digit, or if it has more than 64 bits. */
  decimal(): boolean {
    const { bytes, end } = this;
    const start = this.at;
    let at = start;
    let lo = 0;
    let hi = 0;
    for (; at < end; at++) {
      const digit = (bytes[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      const low = lo * 10 + digit;
      if (low < TWO_TO_32 && hi === 0) {
        lo = low;
        continue;
      }
      lo = low >>> 0;
      hi = hi * 10 + Math.floor(low / TWO_TO_32);
      if (hi >= TWO_TO_32) return false;
    }
    return at > start && this.#accept(at, lo, hi);
  }

  /** Reads a number as C writes it: hexadecimal after 0x, else decimal; after a minus sign as two's complement of 64 bits. */
  number(): boolean {
    const start = this.at;
    const negative = this.skipByte(MINUS);
    if (!this.#plainNumber()) {
      this.at = start;
      return false;
    }
    if (!negative) return true;
    if (this.hi > 0x8000_0000 || (this.hi === 0x8000_0000 && this.lo > 0)) {
      this.at = start;
      return false;
    }
    this.hi = (~this.hi + (this.lo === 0 ? 1 : 0)) >>> 0;
    this.lo = -this.lo >>> 0;
    return true;
  }

  #plainNumber(): boolean {
    return this.#has0x() ? this.hex() : this.decimal();
  }

  #has0x(): boolean {
    const { bytes, at } = this;
    return at + 1 < this.end && bytes[at] === ZERO && ((bytes[at + 1] ?? 0) | 0x20) === X;
  }

  #accept(at: number, lo: number, hi: number): boolean {
    if (at === this.end && this.openEnd) return false;
    this.at = at;
    this.lo = lo;
    this.hi = hi;
    return true;
  }

  /** The last number as a JavaScript number; exact below 2^53. */
  safe(): number {
    return this.hi * TWO_TO_32 + this.lo;
  }

  /** The last number as a signed one (an int's or a long's negative value was sign-extended); exact between -2^53 and 2^53. */
  signed(): number {
    return (this.hi | 0) * TWO_TO_32 + this.lo;
  }

  /** Moves past the identifier here and returns its hash, 0 if there is none. Two identifiers can have the same: ask `wordIs` too. */
  word(): number {
    const { bytes, end } = this;
    const start = this.at;
    let at = start;
    let hash = 0x811c9dc5 | 0;
    for (; at < end; at++) {
      const byte = bytes[at] ?? 0;
      if (IN_WORD[byte] !== 1) break;
      hash = Math.imul(hash ^ byte, 0x01000193);
    }
    this.wordStart = start;
    if (at === start || (at === end && this.openEnd)) {
      this.wordEnd = start;
      return 0;
    }
    this.wordEnd = at;
    this.at = at;
    return hash;
  }

  /** True if the last word is this one. */
  wordIs(word: Uint8Array): boolean {
    const { bytes, wordStart } = this;
    if (this.wordEnd - wordStart !== word.length) return false;
    for (let i = 0; i < word.length; i++) if (bytes[wordStart + i] !== word[i]) return false;
    return true;
  }

  /** Bytes as text, each as one character; for rare use. */
  text(from: number, to: number): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + from, Math.max(0, to - from)).toString('latin1');
  }
}
