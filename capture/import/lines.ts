import { isWordByte } from './cursor.ts';
import type { ByteParser, LineParser } from './format.ts';
import type { Troubles } from './troubles.ts';

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** A longer line is no line of any format here: it is left out, so that memory does not grow with it. */
export const MAX_LINE_BYTES = 1024 * 1024;

/** Cuts chunks into lines. A line that lies in one chunk is not copied. Behind its end is its CR, if it has one, or the newline. */
export class LineSplitter implements ByteParser {
  readonly #parser: LineParser;
  readonly #troubles: Troubles;
  /** The beginning of a line whose end is in a chunk to come. */
  #carry = Buffer.allocUnsafe(64 * 1024);
  #carried = 0;
  /** In the rest of a line that is too long. */
  #skipping = false;
  #lineNumber = 0;

  constructor(parser: LineParser, troubles: Troubles) {
    this.#parser = parser;
    this.#troubles = troubles;
  }

  chunk(bytes: Uint8Array): void {
    let start = 0;
    if (this.#carried > 0 || this.#skipping) {
      const newline = bytes.indexOf(NEWLINE);
      this.#keep(bytes, 0, newline < 0 ? bytes.length : newline);
      if (newline < 0) return;
      this.#carriedLine();
      start = newline + 1;
    }
    for (;;) {
      const newline = bytes.indexOf(NEWLINE, start);
      if (newline < 0) break;
      if (newline - start > MAX_LINE_BYTES) {
        this.#lineNumber++;
        this.#tooLong();
      } else this.#line(bytes, start, newline);
      start = newline + 1;
    }
    if (start < bytes.length) this.#keep(bytes, start, bytes.length);
  }

  end(): void {
    if (this.#skipping) this.#carriedLine();
    else if (this.#carried > 0) this.#openLine();
    this.#troubles.lineNumber = this.#lineNumber;
    this.#parser.end();
  }

  #line(bytes: Uint8Array, start: number, newline: number): void {
    const end = newline > start && bytes[newline - 1] === CARRIAGE_RETURN ? newline - 1 : newline;
    this.#troubles.lineNumber = ++this.#lineNumber;
    this.#parser.line(bytes, start, end, this.#lineNumber);
  }

  #openLine(): void {
    const bytes = this.#carry;
    const end = this.#carried;
    this.#troubles.lineNumber = ++this.#lineNumber;
    if (this.#parser.openLine) this.#parser.openLine(bytes, 0, end, this.#lineNumber);
    else if (isWordByte(bytes[end - 1] ?? 0)) this.#troubles.add('last line without a newline');
    else this.#parser.line(bytes, 0, end, this.#lineNumber);
    this.#carried = 0;
  }

  #carriedLine(): void {
    if (this.#skipping) {
      this.#lineNumber++;
      this.#tooLong();
    } else {
      // What is behind a line is its end, as in a chunk.
      this.#carry[this.#carried] = NEWLINE;
      this.#line(this.#carry, 0, this.#carried);
    }
    this.#carried = 0;
    this.#skipping = false;
  }

  #keep(bytes: Uint8Array, from: number, to: number): void {
    const needed = this.#carried + to - from;
    if (this.#skipping || needed > MAX_LINE_BYTES) {
      this.#skipping = true;
      this.#carried = 0;
      return;
    }
    if (needed >= this.#carry.length) {
      const grown = Buffer.allocUnsafe(Math.min(MAX_LINE_BYTES, Math.max(needed, this.#carry.length * 2)) + 1);
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(bytes.subarray(from, to), this.#carried);
    this.#carried = needed;
  }

  #tooLong(): void {
    this.#troubles.add('line longer than 1 MiB', this.#lineNumber);
  }
}
