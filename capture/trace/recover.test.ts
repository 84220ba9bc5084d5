import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TraceFile } from './reader.ts';
import { recoverTrace } from './recover.ts';
import { batchAt } from './testdata/deterministic-rows.mjs';
import { expectRows, METADATA, testFolder, thrownBy, writeTrace } from './testing/sample.ts';
import { verifyTrace } from './verify.ts';
import { TraceWriter } from './writer.ts';

const folder = testFolder();

function abortedTrace(name: string, appends: readonly number[]): string {
  const writer = TraceWriter.create(join(folder, name), METADATA);
  for (const rows of appends) {
    writer.append(batchAt(writer.rows, rows));
    writer.flush();
  }
  writer.abort();
  return `${join(folder, name)}.partial`;
}

test('recovering NAME.partial as NAME', () => {
  const partial = abortedTrace('a.arrow', [100, 200]);
  const whole = readFileSync(partial);
  // Half a batch more.
  writeFileSync(partial, whole.subarray(0, whole.length - 1000));
  const path = join(folder, 'a.arrow');
  expect(recoverTrace(partial, path)).toMatchObject({
    path,
    rows: 100,
    batches: 1,
    damagedBatches: 0,
    complete: false,
    reason: expect.stringContaining("the file ends in a message's body") as string,
  });
  const file = TraceFile.open(path);
  expect(expectRows(file)).toBe(100);
  expect(file.metadata).toEqual(METADATA);
  expect([file.truncated, file.end, file.complete]).toEqual([undefined, undefined, false]);
  file.close();
  expect(readdirSync(folder).filter((name) => name.includes('recovering'))).toEqual([]);
});

test('a batch with damaged values is left behind, those after it are kept', () => {
  const partial = abortedTrace('holed.arrow', [8, 8, 8]);
  const file = TraceFile.open(partial, { allowPartial: true });
  const { bodyOffset, buffers } = file.batch(1);
  file.close();
  const bytes = readFileSync(partial);
  bytes[bodyOffset + (buffers.get('op')?.data.offset ?? 0)] = 250;
  writeFileSync(partial, bytes);
  const path = join(folder, 'holed.arrow');
  expect(recoverTrace(partial, path)).toMatchObject({ rows: 16, batches: 2, damagedBatches: 1 });
  const problems = verifyTrace(path).problems.map(({ kind, row }) => ({ kind, row }));
  expect(problems).toEqual([{ kind: 'seq', row: 8 }, { kind: 'end', row: 15 }]); // prettier-ignore
});

test('a damaged footer is replaced', async () => {
  const path = join(folder, 'footer.arrow');
  await writeTrace(path, 20, 10);
  const bytes = readFileSync(path);
  bytes.writeInt32LE(2 ** 30, bytes.length - 10);
  writeFileSync(path, bytes);
  expect(thrownBy(() => TraceFile.open(path), 'BAD_INPUT').hint).toContain('cvmtrace recover');
  const out = join(folder, 'footer-recovered.arrow');
  expect(recoverTrace(path, out).rows).toBe(21);
  expect(verifyTrace(out)).toMatchObject({ ok: true, rows: 21 });
});

test('a whole trace, and one that was recovered before, are not recovered', async () => {
  const path = join(folder, 'whole.arrow');
  await writeTrace(path, 5);
  const error = thrownBy(() => recoverTrace(path, join(folder, 'out.arrow')), 'USAGE');
  expect(error).toMatchObject({ message: `${path} has its footer: there is nothing to recover` });
  const twice = join(folder, 'twice.arrow');
  recoverTrace(abortedTrace('once.arrow', [5]), twice);
  expect(thrownBy(() => recoverTrace(twice, join(folder, 'out.arrow')), 'USAGE').hint).toContain('cut off');
  expect(existsSync(join(folder, 'out.arrow'))).toBe(false);
});

test('the output is replaced only with force', () => {
  const partial = abortedTrace('forced.arrow', [5]);
  const path = join(folder, 'forced.arrow');
  writeFileSync(path, 'kept');
  expect(thrownBy(() => recoverTrace(partial, path), 'IO').hint).toContain('--force');
  expect(readFileSync(path, 'utf8')).toBe('kept');
  expect(recoverTrace(partial, path, { force: true }).rows).toBe(5);
});

test('without a schema there is nothing to recover', () => {
  const path = join(folder, 'head.partial');
  writeFileSync(path, 'ARROW1\0\0');
  expect(thrownBy(() => recoverTrace(path, join(folder, 'none.arrow')), 'BAD_INPUT').message).toContain('nothing in');
  expect(existsSync(join(folder, 'none.arrow'))).toBe(false);
});
