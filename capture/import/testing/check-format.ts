import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../../../native/index.ts';
import { detectFormat } from '../detect-format.ts';
import type { ImportFormat, ImportOptions } from '../format.ts';
import { importBytes, importText } from './import-bytes.ts';

/** Fixtures: `testdata/FORMAT/NAME.EXT`, and beside each `NAME.rows`, what it is imported to. */
export const TESTDATA = join(PACKAGE_ROOT, 'capture', 'import', 'testdata');

export interface Fixture {
  readonly name: string;
  readonly path: string;
  readonly bytes: Buffer;
}

/** The fixtures of the format of this name. */
export function fixturesOf(formatName: string): readonly Fixture[] {
  const folder = join(TESTDATA, formatName);
  return readdirSync(folder)
    .filter((file) => !/\.(rows|got|md|events)$/.test(file))
    .sort()
    .map((file) => ({
      name: file.replace(/\.[^.]*$/, ''),
      path: join(folder, file),
      bytes: readFileSync(join(folder, file)),
    }));
}

export interface CheckOptions {
  /** Options that a fixture is imported with. */
  readonly options?: (fixture: Fixture) => ImportOptions;
}

/**
 * What holds for every format, on each of its fixtures: it is known by its first bytes, gives the rows of its golden file (written anew with
 * CVMTRACE_UPDATE_GOLDEN set), however it is cut into chunks, and a file that ends too early gives the same rows up to there.
 */
export function checkFormat(format: ImportFormat, { options = () => ({}) }: CheckOptions = {}): void {
  const fixtures = fixturesOf(format.name);
  it('has fixtures', () => {
    expect(fixtures.length).toBeGreaterThan(0);
  });
  describe.each(fixtures)('$name', (fixture) => {
    const { path, bytes } = fixture;
    const imported = importBytes(format, bytes, options(fixture));

    it('is known by its content', () => {
      expect(detectFormat(bytes).format?.name).toBe(format.name);
    });

    it('is imported to the rows of its golden file', () => {
      const golden = `${path.replace(/\.[^.]*$/, '')}.rows`;
      const text = importText(imported);
      if (process.env['CVMTRACE_UPDATE_GOLDEN']) writeFileSync(golden, text);
      expect(text, `differs from ${golden}`).toBe(existsSync(golden) ? readFileSync(golden, 'utf8') : '');
    });

    it.each([1, 7])('is imported the same in chunks of %i bytes', (chunkBytes) => {
      expect(importText(importBytes(format, bytes, { ...options(fixture), chunkBytes }))).toBe(importText(imported));
    });

    it('gives the same rows up to where it is cut', () => {
      for (const length of format.kind === 'lines' ? cutsOfLines(bytes) : bytes.keys()) {
        expectPrefix(importBytes(format, bytes.subarray(0, length), options(fixture)).rows, imported.rows, length);
      }
    });
  });
}

/** Lengths that cut each line before and after its newline, in its last character, and at five places within. */
function cutsOfLines(bytes: Buffer): readonly number[] {
  const cuts = new Set<number>();
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    for (let part = 1; part <= 5; part++) cuts.add(start + Math.floor(((end - start) * part) / 6));
    for (const cut of [start, end - 1, end]) cuts.add(Math.max(0, cut));
    start = end + 1;
  }
  return [...cuts].sort((a, b) => a - b);
}

/**
 * Rows of a cut file: those of the whole one up to some row, and perhaps some of whose calls the end was not there; these only have less filled than
 * the row that they are part of.
 */
function expectPrefix(rows: readonly string[], whole: readonly string[], length: number): void {
  const where = `cut after ${length} bytes`;
  let same = 0;
  while (same < rows.length && rows[same] === whole[same]) same++;
  const later = whole.slice(same).map((row) => new Set(row.split(' ')));
  for (const row of rows.slice(same)) {
    const isPart = later.some((values) => row.split(' ').every((value) => values.has(value)));
    expect(isPart, `${where}: ${row} is no part of a row of the whole file`).toBe(true);
  }
}
