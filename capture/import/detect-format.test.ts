import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { detectFormat, SURE } from './detect-format.ts';
import { FORMATS } from './formats.ts';
import { fixturesOf, TESTDATA } from './testing/check-format.ts';

describe('detectFormat', () => {
  it('has a format for every folder of fixtures', () => {
    const known: readonly string[] = FORMATS.map(({ name }) => name);
    const folders = readdirSync(TESTDATA, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).filter((name) => !known.includes(name))).toEqual([]);
  });

  it.each(FORMATS.map(({ name }) => name))('is not fooled by fixtures of %s', (name) => {
    for (const fixture of fixturesOf(name)) {
      const { format, confidence } = detectFormat(fixture.bytes);
      expect(format?.name, fixture.path).toBe(name);
      expect(confidence, fixture.path).toBeGreaterThanOrEqual(SURE);
      // Nor does a second format claim it: which one is taken must not depend on their order.
      const claims = FORMATS.filter((other) => other.detect(fixture.bytes.subarray(0, 4096)) >= confidence);
      expect(
        claims.map((claim) => claim.name),
        fixture.path,
      ).toEqual([name]);
    }
  });

  it.each([
    ['nothing', ''],
    ['prose', 'The quick brown fox\njumps over the lazy dog.\n'],
    ['a C source', '#include <stdio.h>\nint main(void) { return 0; }\n'],
    ['a table of another kind', 'name,age\nann,7\n'],
    ['other JSON', '{"name":"ann","age":7}\n'],
    ['zeros', '\0'.repeat(4096)],
    ['bytes of all values', Buffer.from(Array.from({ length: 4096 }, (_, i) => i & 255)).toString('latin1')],
  ])('is not sure of %s', (_, text) => {
    expect(detectFormat(Buffer.from(text, 'latin1')).confidence).toBeLessThan(SURE);
  });

  it('looks at the first 4 KiB only', () => {
    const late = Buffer.from(`${'x\n'.repeat(2048)}kvm_memory_fault start 0x1000 size 0x1000 flags 0x8\n`);
    expect(detectFormat(late).confidence).toBeLessThan(SURE);
  });
});
