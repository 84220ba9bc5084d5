/**
 * CSV (RFC 4180) whose first line names columns of a trace, in any order: what `cvmtrace export --to csv` writes, or anybody's script. An empty field is
 * null, "" is an empty text.
 */
import { bytesOf, Cursor } from '../cursor.ts';
import type { ImportContext, LineFormat, LineParser } from '../format.ts';
import { headLines } from '../head-lines.ts';
import { MAX_LINE_BYTES } from '../lines.ts';
import { likeness, RowValues, valueName, type ValueName } from './row-values.ts';

const COMMA = 0x2c;
const QUOTE = 0x22;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = bytesOf('\xef\xbb\xbf');

export const csvFormat: LineFormat = {
  name: 'csv',
  summary: 'CSV with the columns of a trace by name, as export writes it',
  madeBy: 'cvmtrace export --to csv, or any script',
  kind: 'lines',
  detect: (head) => {
    const [first = ''] = headLines(head);
    return likeness(
      first
        .replace(/^\xef\xbb\xbf/, '')
        .split(',')
        .map((name) => name.trim().replace(/^"(.*)"$/, '$1')),
    );
  },
  open: (context) => new CsvParser(context),
};

class CsvParser implements LineParser {
  readonly #context: ImportContext;
  readonly #values: RowValues;
  readonly #cursor = new Cursor();
  #columns: readonly (ValueName | null)[] | undefined;
  /** A record whose quoted field has line breaks in it, as far as it has come. */
  #record = Buffer.alloc(0);
  #open = false;

  constructor(context: ImportContext) {
    this.#context = context;
    this.#values = new RowValues(context);
  }

  line(bytes: Uint8Array, start: number, end: number): void {
    const quotes = countQuotes(bytes, start, end);
    if (!this.#open && quotes % 2 === 0) {
      this.#complete(bytes, start, end);
      return;
    }
    // In a field the CR that was taken off belongs to the text.
    const lineEnd = bytes[end] === CARRIAGE_RETURN ? [CARRIAGE_RETURN, NEWLINE] : [NEWLINE];
    if (quotes % 2 === 1) this.#open = !this.#open;
    this.#record = Buffer.concat([this.#record, bytes.subarray(start, end), Buffer.from(this.#open ? lineEnd : [])]);
    if (this.#open && this.#record.length <= MAX_LINE_BYTES) return;
    if (this.#open) this.#context.troubles.add('quoted field longer than 1 MiB');
    else this.#complete(this.#record, 0, this.#record.length);
    this.#open = false;
    this.#record = Buffer.alloc(0);
  }

  openLine(bytes: Uint8Array, start: number, end: number): void {
    // The last field may be a number that goes on, and only with its newline a record is known to be whole.
    if (bytes[end - 1] === COMMA) this.line(bytes, start, end);
    else this.#context.troubles.add('last line without a newline');
  }

  end(): void {
    if (this.#open) this.#context.troubles.add('quoted field without an end');
  }

  #complete(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    const cursor = this.#cursor.reset(bytes, start, end);
    if (!this.#columns) {
      this.#header(cursor);
      return;
    }
    const columns = this.#columns;
    this.#values.clear();
    let field = 0;
    for (; ; field++) {
      const name = field < columns.length ? columns[field] : undefined;
      if (!this.#field(cursor, bytes, end, name ?? null)) return;
      if (cursor.at >= end) break;
      cursor.at++;
    }
    if (field + 1 !== columns.length) this.#context.troubles.add('row with another number of fields than the header');
    else this.#values.emit();
  }

  /** Reads a field up to the comma or the end. False if its quotes are wrong. */
  #field(cursor: Cursor, bytes: Uint8Array, end: number, name: ValueName | null): boolean {
    const start = cursor.at;
    const quoted = cursor.peek() === QUOTE;
    if (quoted && !skipQuoted(cursor)) {
      this.#context.troubles.add('wrong quotes');
      return false;
    }
    if (!cursor.find(COMMA)) cursor.at = end;
    const stop = cursor.at;
    if (name === null || start === stop) return true;
    if (name === 'op' || name === 'detail') this.#values.text(name, textOf(bytes, start, stop, quoted));
    else
      this.#values.number(
        name,
        quoted ? new Cursor().reset(bytes, start + 1, stop - 1) : cursor.reset(bytes, start, stop),
      );
    cursor.reset(bytes, stop, end);
    return true;
  }

  #header(cursor: Cursor): void {
    cursor.skip(BYTE_ORDER_MARK);
    const names = Buffer.from(cursor.bytes.subarray(cursor.at, cursor.end)).toString('latin1').split(',');
    this.#columns = names.map((text) => {
      const name = text.trim().replace(/^"(.*)"$/, '$1');
      const column = valueName(name);
      if (column === null && name.toLowerCase() !== 'seq') this.#context.troubles.skip(`column ${name.slice(0, 40)}`);
      return column;
    });
    if (!this.#columns.includes('op')) this.#context.troubles.add('no column op');
  }
}

function countQuotes(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at++) if (bytes[at] === QUOTE) count++;
  return count;
}

/** Moves behind the quote that ends the field. */
function skipQuoted(cursor: Cursor): boolean {
  cursor.at++;
  while (cursor.find(QUOTE)) {
    cursor.at++;
    if (!cursor.skipByte(QUOTE)) return cursor.at === cursor.end || cursor.peek() === COMMA;
  }
  return false;
}

function textOf(bytes: Uint8Array, start: number, stop: number, quoted: boolean): string {
  const text = Buffer.from(bytes.subarray(quoted ? start + 1 : start, quoted ? stop - 1 : stop)).toString();
  return quoted ? text.replaceAll('""', '"') : text;
}
