import fc from 'fast-check';
import { it } from 'vitest';
import type { ImportFormat } from '../format.ts';
import { fixturesOf } from './check-format.ts';
import { importBytes } from './import-bytes.ts';

/** Whatever bytes of a fixture are exchanged for others, the import does not throw. */
export function checkDamage(format: ImportFormat): void {
  const bytes = Buffer.concat(fixturesOf(format.name).map((fixture) => fixture.bytes));
  // Those that a parser looks for are tried more often.
  const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...Buffer.from('\n <>()[]{}=,:."0x9-|?+')));
  const damage = fc.array(fc.tuple(fc.integer({ min: 0, max: bytes.length - 1 }), byte), {
    minLength: 1,
    maxLength: 60,
  });
  it('takes damage without throwing', () => {
    fc.assert(
      fc.property(damage, (changes) => {
        const damaged = Buffer.from(bytes);
        for (const [at, value] of changes) damaged[at] = value;
        importBytes(format, damaged);
      }),
      { numRuns: 100 },
    );
  });
}
