import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { expect, test } from 'vitest';
import { TraceFile } from './reader.ts';
import { recoverTrace } from './recover.ts';
import { DIST, expectRows, testFolder, thrownBy, writeTrace } from './testing/sample.ts';
import { verifyTrace } from './verify.ts';

const folder = testFolder();
const CHILD = join(import.meta.dirname, 'testdata', 'write-rows.mjs');

/** Starts a writer, kills it with SIGKILL once it has reported `kills` flushes, and returns how many rows it had reported. */
async function killWriter(path: string, rowsPerAppend: number, flushes: number): Promise<number> {
  const child = spawn(process.execPath, [CHILD, DIST, path, String(rowsPerAppend)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output.split('\n').length > flushes) child.kill('SIGKILL');
  });
  await closed;
  expect(child.signalCode).toBe('SIGKILL');
  const reported = output
    .slice(0, output.lastIndexOf('\n') + 1)
    .trimEnd()
    .split('\n');
  return Number(reported.at(-1));
}

test('kill -9 at any moment loses at most the batch that was being written', { timeout: 60_000 }, async () => {
  expect(existsSync(DIST), 'dist/ is there: npm run build').toBe(true);
  const random = xoroshiro128plus(7);
  const kills = Array.from({ length: 20 }, (_, i) => ({
    path: join(folder, `killed-${i}.arrow`),
    // The last size is one that the writer does not collect first.
    rowsPerAppend: [1, 5, 24, 100, 8192][i % 5] ?? 1,
    flushes: 1 + ((random.next() >>> 0) % (i % 5 === 4 ? 2 : 30)),
  }));
  const killOne = async ({ path, rowsPerAppend, flushes }: (typeof kills)[number]): Promise<void> => {
    const reported = await killWriter(path, rowsPerAppend, flushes);
    expect(existsSync(path)).toBe(false);
    thrownBy(() => TraceFile.open(`${path}.partial`), 'BAD_INPUT');
    const file = TraceFile.open(`${path}.partial`, { allowPartial: true });
    const rows = expectRows(file);
    file.close();
    // It may have flushed more before the signal came, never less; and only whole appends.
    expect(rows).toBeGreaterThanOrEqual(reported);
    expect(rows % rowsPerAppend).toBe(0);
    const recovered = recoverTrace(`${path}.partial`, path);
    expect(recovered.rows).toBe(rows);
    expect(verifyTrace(path)).toMatchObject({ ok: false, rows, problemCount: 1, problems: [{ kind: 'end' }] });
  };
  // Two at a time: as many as there are cores on a small machine.
  const queue = [...kills];
  await Promise.all(
    [0, 1].map(async () => {
      for (let next = queue.shift(); next; next = queue.shift()) await killOne(next);
    }),
  );
});

test('a trace cut at any byte gives the rows of its complete batches, and no others', async () => {
  const whole = join(folder, 'whole.arrow');
  await writeTrace(whole, 60, 6);
  const bytes = readFileSync(whole);
  const file = TraceFile.open(whole);
  const batches = Array.from({ length: file.batchCount }, (_, i) => file.batch(i));
  const ends = batches.map(({ block, rows, firstRow }) => ({
    end: block.offset + block.metadataLength + block.bodyLength,
    rows: firstRow + rows,
  }));
  const edges = batches.flatMap(({ block, bodyOffset }) => [block.offset, bodyOffset]);
  file.close();
  const random = xoroshiro128plus(1);
  const cuts = new Set([
    ...edges.flatMap((edge) => [edge - 1, edge, edge + 1, edge + 7, edge + 8]),
    ends.at(-1)?.end ?? 0,
    bytes.length - 1,
  ]);
  while (cuts.size < 200) cuts.add((random.next() >>> 0) % bytes.length);

  const path = join(folder, 'cut.arrow');
  let read = 0;
  for (const cut of cuts) {
    writeFileSync(path, bytes.subarray(0, cut));
    thrownBy(() => TraceFile.open(path), 'BAD_INPUT');
    let torn: TraceFile;
    try {
      torn = TraceFile.open(path, { allowPartial: true });
    } catch (error) {
      // Before the dictionary is whole there can be no rows, before the schema is, no file.
      expect(error).toMatchObject({ code: 'BAD_INPUT' });
      expect(cut).toBeLessThan(edges[0] ?? 0);
      continue;
    }
    const rows = ends.findLast(({ end }) => end <= cut)?.rows ?? 0;
    expect(torn.rows).toBe(rows);
    expect(torn.truncated).toBeDefined();
    expect(torn.complete).toBe(false);
    // The last row is trace_end, not one of the deterministic ones.
    expectRows(torn, Math.min(rows, 60));
    expect(torn.end !== undefined).toBe(rows === 61);
    torn.close();
    read++;
  }
  expect(read).toBeGreaterThan(100);
});
