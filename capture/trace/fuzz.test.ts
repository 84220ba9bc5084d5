/** Any bytes: opening, reading every column and verifying either succeed or throw BAD_INPUT, in time and memory that the file's size bounds. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { expect, test } from 'vitest';
import { CvmtraceError } from '../../native/index.ts';
import { ColumnScratch } from './column-data.ts';
import { TraceFile } from './reader.ts';
import { recoverTrace } from './recover.ts';
import { testFolder, writeTrace } from './testing/sample.ts';
import { verifyTrace } from './verify.ts';

const folder = testFolder();
const RUNS = 700;

type Random = (limit: number) => number;

const INTERESTING = [0, 1, -1, 7, 8, 255, 256, 0x7fffffff, -0x80000000, 0x10000000, 1 << 20];

/** Ways to damage a file; each gives a changed copy. */
const DAMAGES: readonly ((bytes: Buffer, random: Random) => Buffer)[] = [
  function flipBits(bytes, random) {
    for (let flips = 1 + random(8); flips > 0; flips--) {
      const at = random(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    }
    return bytes;
  },
  function overwriteInt(bytes, random) {
    for (let ints = 1 + random(3); ints > 0; ints--) {
      const at = random(bytes.length / 4 - 1) * 4;
      bytes.writeInt32LE(INTERESTING[random(INTERESTING.length)] ?? 0, at);
    }
    return bytes;
  },
  function truncate(bytes, random) {
    return bytes.subarray(0, random(bytes.length));
  },
  function splice(bytes, random) {
    const [from, to, length] = [random(bytes.length), random(bytes.length), random(400)];
    bytes.copy(bytes, to, from, from + length);
    return bytes;
  },
  function cutOut(bytes, random) {
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(64))]);
  },
  function damageSchema(bytes, random) {
    // The schema and the dictionary, where a change has the most ways to mislead.
    bytes[8 + random(5000)] = random(256);
    return bytes;
  },
  function damageFooter(bytes, random) {
    bytes[bytes.length - 1 - random(3000)] = random(256);
    return bytes;
  },
];

/** True if it threw BAD_INPUT; any other error fails the test. */
function refuses(action: () => unknown): boolean {
  try {
    action();
    return false;
  } catch (error) {
    if (error instanceof CvmtraceError && (error.code === 'BAD_INPUT' || error.code === 'USAGE')) {
      expect(error.message).not.toContain('undefined');
      expect(error.message).not.toContain('\n');
      return true;
    }
    throw error;
  }
}

function readAll(path: string, allowPartial: boolean): void {
  const file = TraceFile.open(path, { allowPartial });
  try {
    const scratch = new ColumnScratch();
    for (let batch = 0; batch < file.batchCount; batch++) {
      for (const { name, readable } of file.columns) if (readable) file.readColumn(batch, name, scratch);
    }
  } finally {
    file.close();
  }
}

test('damaged files are refused or read, and nothing else', async () => {
  const good = join(folder, 'good.arrow');
  await writeTrace(good, 24, 8);
  const bytes = readFileSync(good);
  const generator = xoroshiro128plus(2024);
  const random: Random = (limit) => Math.floor(((generator.next() >>> 0) / 2 ** 32) * limit);
  const path = join(folder, 'damaged.arrow');
  let refused = 0;
  let found = 0;
  const heapBefore = process.memoryUsage().rss;
  for (let run = 0; run < RUNS; run++) {
    const damage = DAMAGES[run % DAMAGES.length];
    if (!damage) continue;
    const damaged = damage(Buffer.from(bytes), random);
    writeFileSync(path, damaged);
    try {
      if (refuses(() => readAll(path, false))) refused++;
      refuses(() => readAll(path, true));
      if (!verifyTrace(path).ok) found++;
      if (run % 10 === 0) refuses(() => recoverTrace(path, join(folder, `recovered-${run}`)));
    } catch (error) {
      throw new Error(`run ${run}, ${damage.name}: ${String(error)}`, { cause: error });
    }
  }
  // The test is worth something only if both kinds of outcome occur, and if verify sees more than the reader must.
  expect(refused).toBeGreaterThan(RUNS / 3);
  expect(refused).toBeLessThan(RUNS);
  expect(found).toBeGreaterThanOrEqual(refused);
  expect(process.memoryUsage().rss - heapBefore).toBeLessThan(400 * 1024 * 1024);
});
