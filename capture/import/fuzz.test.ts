import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CvmtraceError } from '../../native/index.ts';
import { FORMATS } from './formats.ts';
import type { ImportFormat } from './format.ts';
import { fixturesOf, TESTDATA } from './testing/check-format.ts';
import { importBytes, importText } from './testing/import-bytes.ts';

const EVENTS_FILE = join(TESTDATA, 'qemu-simpletrace', 'old-numbers.events');

/** What is damaging in the middle of text: ends, huge and negative numbers, NULs, bytes that are no UTF-8. */
const PIECES = [
  ...['\n', '\r\n', '\0', '"', "'", '<', '>', '(', ')', '{', ',', ' = ', '-1', '0x', '0', '99999999999999999999999'],
  ...['0xffffffffffffffff', '18446744073709551615', '-9223372036854775808', '\xff\xfe', '\x1b[31m', 'resumed>', '...'],
].map((text) => Buffer.from(text, 'latin1'));

interface Change {
  readonly at: number;
  readonly remove: number;
  readonly piece: number;
}

const changes = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.nat(12),
    piece: fc.nat(PIECES.length - 1),
  }),
  { minLength: 1, maxLength: 6 },
);

function damage(bytes: Buffer, list: readonly Change[]): Buffer {
  let damaged = bytes;
  for (const { at, remove, piece } of list) {
    const start = Math.floor(at * damaged.length);
    damaged = Buffer.concat([
      damaged.subarray(0, start),
      PIECES[piece] ?? Buffer.alloc(0),
      damaged.subarray(start + remove),
    ]);
  }
  return damaged;
}

/** The text of an import; of a header that is refused, the message. */
function outcome(format: ImportFormat, bytes: Buffer, chunkBytes: number): string {
  try {
    return importText(importBytes(format, bytes, { chunkBytes, eventsFile: EVENTS_FILE }));
  } catch (error) {
    if (error instanceof CvmtraceError) return error.message;
    throw error;
  }
}

describe.each(FORMATS.map((format) => [format.name, format] as const))('%s', (name, format) => {
  it('takes damaged logs without an error of its own, however they are cut into chunks', () => {
    const fixtures = fixturesOf(name);
    fc.assert(
      fc.property(fc.nat(fixtures.length - 1), changes, (index, list) => {
        const bytes = damage(fixtures[index]?.bytes ?? Buffer.alloc(0), list);
        expect(outcome(format, bytes, 13)).toBe(outcome(format, bytes, Infinity));
        expect(format.detect(bytes.subarray(0, 4096))).toBeGreaterThanOrEqual(0);
      }),
      { seed: 1, numRuns: 150 },
    );
  });

  it('takes bytes that mean nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        outcome(format, Buffer.from(bytes), Infinity);
      }),
      { seed: 1, numRuns: 100 },
    );
  });
});
