/**
 * JSON Lines: an object per line with the columns of a trace as keys, in any order: what `cvmtrace export --to jsonl` writes, or anybody's script.
 * Numbers are JSON numbers, or texts (decimal, or hexadecimal after 0x) where a number would not be exact.
 */
import { Cursor } from '../cursor.ts';
import type { ImportContext, LineFormat, LineParser } from '../format.ts';
import { headLines } from '../head-lines.ts';
import { likeness, RowValues, valueName } from './row-values.ts';

const BRACE = 0x7d;

export const jsonlFormat: LineFormat = {
  name: 'jsonl',
  summary: 'JSON Lines with the columns of a trace by name, as export writes it',
  madeBy: 'cvmtrace export --to jsonl, or any script',
  kind: 'lines',
  detect: (head) => {
    const [first = ''] = headLines(head);
    const value = parseObject(first);
    return value && typeof value['op'] === 'string' ? likeness(Object.keys(value)) : 0;
  },
  open: (context) => new JsonlParser(context),
};

class JsonlParser implements LineParser {
  readonly #context: ImportContext;
  readonly #values: RowValues;

  constructor(context: ImportContext) {
    this.#context = context;
    this.#values = new RowValues(context);
  }

  line(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    const { troubles } = this.#context;
    const row = parseObject(Buffer.from(bytes.subarray(start, end)).toString());
    if (!row) {
      troubles.add('line that is no JSON object');
      return;
    }
    this.#values.clear();
    for (const [key, value] of Object.entries(row)) {
      const name = valueName(key);
      if (value === null) continue;
      if (name === null) {
        if (key !== 'seq') troubles.skip(`key ${key.slice(0, 40)}`);
      } else if (name === 'op' || name === 'detail') {
        if (typeof value === 'string') this.#values.text(name, value);
        else troubles.add(`${name} that is no text`);
      } else if (typeof value === 'string' || (typeof value === 'number' && Number.isSafeInteger(value))) {
        const text = Buffer.from(String(value), 'latin1');
        this.#values.number(name, new Cursor().reset(text, 0, text.length));
      } else troubles.add(`bad number in ${name}`);
    }
    this.#values.emit();
  }

  /** An object that ends is whole. */
  openLine(bytes: Uint8Array, start: number, end: number): void {
    if (bytes[end - 1] === BRACE) this.line(bytes, start, end);
    else this.#context.troubles.add('last line without a newline');
  }

  end(): void {
    // A row is a line: nothing is open.
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return value as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}
