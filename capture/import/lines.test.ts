import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LineParser } from './format.ts';
import { LineSplitter, MAX_LINE_BYTES } from './lines.ts';
import { Troubles } from './troubles.ts';

interface Seen {
  readonly lines: string[];
  readonly open: string[];
  readonly troubles: Troubles;
}

function split(chunks: readonly Uint8Array[], withOpenLine = true): Seen {
  const seen: Seen = { lines: [], open: [], troubles: new Troubles() };
  const take =
    (list: string[]) =>
    (bytes: Uint8Array, start: number, end: number, lineNumber: number): void =>
      void list.push(`${lineNumber}:${Buffer.from(bytes.subarray(start, end)).toString('latin1')}`);
  const parser: LineParser = {
    line: take(seen.lines),
    end: () => undefined,
    ...(withOpenLine && { openLine: take(seen.open) }),
  };
  const splitter = new LineSplitter(parser, seen.troubles);
  for (const chunk of chunks) splitter.chunk(chunk);
  splitter.end();
  return seen;
}

describe('LineSplitter', () => {
  it('gives the same lines however the bytes are cut', () => {
    const text = fc
      .array(fc.constantFrom('a', 'bc', '\n', '\r\n', '\r'), { maxLength: 60 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (whole, sizes) => {
        const bytes = Buffer.from(whole);
        const chunks: Buffer[] = [];
        for (let start = 0, i = 0; start < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          chunks.push(bytes.subarray(start, start + size));
          start += size;
        }
        const parts = whole.split('\n');
        const last = parts.pop() ?? '';
        const { lines, open } = split(chunks);
        expect(lines).toEqual(parts.map((line, i) => `${i + 1}:${line.replace(/\r$/, '')}`));
        expect(open).toEqual(last === '' ? [] : [`${parts.length + 1}:${last}`]);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it('leaves out a line that is too long, and goes on', () => {
    const long = Buffer.alloc(3 * MAX_LINE_BYTES, 'x');
    const whole = Buffer.concat([Buffer.from('a\n'), long, Buffer.from('\nb\n')]);
    for (const size of [whole.length, 100_000, MAX_LINE_BYTES]) {
      const chunks = Array.from({ length: Math.ceil(whole.length / size) }, (_, i) =>
        whole.subarray(i * size, (i + 1) * size),
      );
      const { lines, open, troubles } = split(chunks);
      expect(lines).toEqual(['1:a', '3:b']);
      expect(open).toEqual([]);
      expect(troubles.kinds()).toEqual([{ kind: 'line longer than 1 MiB', skipped: false, count: 1, lines: [2] }]);
    }
    expect(split([long]).troubles.kinds()).toHaveLength(1);
  });

  it('does not take a last word for whole if the format does not know', () => {
    const seen = split([Buffer.from('a 1\nb 2')], false);
    expect(seen.lines).toEqual(['1:a 1']);
    expect(seen.troubles.kinds()).toEqual([
      { kind: 'last line without a newline', skipped: false, count: 1, lines: [2] },
    ]);
    expect(split([Buffer.from('a 1\nb (2)')], false).lines).toEqual(['1:a 1', '2:b (2)']);
  });
});
