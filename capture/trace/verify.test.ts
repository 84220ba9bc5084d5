import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { opCode } from '../../native/index.ts';
import type { TraceBatch } from './batch.ts';
import { encodeFooter, fileEnd } from './encode.ts';
import type { Problem } from './problem.ts';
import { TraceFile } from './reader.ts';
import { arrowSchema } from './schema.ts';
import { blockEnd } from './structure.ts';
import { METADATA, testFolder, thrownBy, writeTrace } from './testing/sample.ts';
import { verifyTrace } from './verify.ts';
import { TraceWriter } from './writer.ts';

const folder = testFolder();

function kinds(problems: readonly Problem[]): string[] {
  return problems.map(({ kind, severity, row }) => `${kind} ${severity}${row === undefined ? '' : ` ${row}`}`);
}

/** Writes a trace, changes bytes of it where `at` says, and verifies it. */
async function verifyChanged(
  name: string,
  at: (file: TraceFile) => number,
  bytes: readonly number[],
): Promise<string[]> {
  const path = join(folder, name);
  await writeTrace(path, 30, 10);
  const file = TraceFile.open(path);
  const content = readFileSync(path);
  content.set(bytes, at(file));
  file.close();
  writeFileSync(path, content);
  return kinds(verifyTrace(path).problems);
}

const bufferOf =
  (column: string, batch: number, buffer: 'data' | 'validity' | 'text' = 'data') =>
  (file: TraceFile) => {
    const { bodyOffset, buffers } = file.batch(batch);
    return bodyOffset + (buffers.get(column)?.[buffer]?.offset ?? 0);
  };

test('a good trace, with what is in it', async () => {
  const path = join(folder, 'good.arrow');
  const writer = TraceWriter.create(path, METADATA);
  const op = Uint8Array.of(opCode('mark'), opCode('lost'), opCode('ram_touch'), opCode('ram_touch'), opCode('lost'));
  const batch: TraceBatch = {
    rows: 5,
    op,
    columns: {
      ts_ns: BigUint64Array.of(1n, 2n, 5n, 4n, 9n),
      tid: Uint32Array.of(1, 2, 1, 2, 2),
      len: BigUint64Array.of(9n, 3n, 9n, 9n, 4n),
    },
    validity: { tid: Uint8Array.of(0b11110) },
  };
  writer.append(batch);
  await writer.finish({ exitStatus: 0, lostEvents: 7 });
  expect(verifyTrace(path)).toEqual({
    ok: true,
    problems: [],
    problemCount: 0,
    rows: 6,
    batches: 1,
    sizeBytes: readFileSync(path).length,
    ops: { mark: 2, lost: 2, ram_touch: 2 },
    threads: 2,
    lostEvents: 7,
    outOfOrder: 1,
  });
});

test('a thread that goes back in time is a warning', async () => {
  const path = join(folder, 'time.arrow');
  const writer = TraceWriter.create(path, METADATA);
  writer.append({
    rows: 3,
    op: new Uint8Array(3).fill(15),
    columns: { ts_ns: BigUint64Array.of(5n, 4n, 6n) },
    validity: {},
    tid: 9,
  });
  await writer.finish({ exitStatus: 0, lostEvents: 0 });
  const { ok, problems } = verifyTrace(path);
  expect(ok).toBe(true);
  expect(problems).toEqual([
    { kind: 'time', severity: 'warning', message: 'thread 9 goes back in time, from 5 to 4 ns', row: 1 },
  ]);
});

test('a row that sums up a period stands at its end and says its start', async () => {
  const path = join(folder, 'sums.arrow');
  const writer = TraceWriter.create(path, METADATA);
  writer.append({
    rows: 3,
    op: Uint8Array.of(opCode('ram_touch'), opCode('kvm_run'), opCode('exit_other')),
    columns: { ts_ns: BigUint64Array.of(5n, 1n, 1n) },
    validity: {},
    tid: 9,
  });
  await writer.finish({ exitStatus: 0, lostEvents: 0 });
  expect(verifyTrace(path)).toMatchObject({ ok: true, problems: [], outOfOrder: 0 });
});

test('what is damaged is named with its row, and the rest is still checked', async () => {
  expect(await verifyChanged('seq', bufferOf('seq', 1), [99])).toEqual(['seq error 10', 'seq error 11']);
  expect(await verifyChanged('op', bufferOf('op', 1), [0xff])).toEqual(['batch error 10']);
  expect(await verifyChanged('text', bufferOf('detail', 1, 'text'), [0xff])).toEqual(['batch error 10']);
  expect(await verifyChanged('nulls', bufferOf('offset', 2, 'validity'), [0, 0])).toEqual(['nulls error 20']);
  expect(await verifyChanged('end', (file) => bufferOf('detail', 3, 'text')(file), [0x54])).toEqual(['end error 30']);
});

test('a footer that leaves out a batch is found, and so is the gap', async () => {
  const path = join(folder, 'footer.arrow');
  await writeTrace(path, 20, 10);
  const file = TraceFile.open(path);
  const blocks = Array.from({ length: file.batchCount }, (_, i) => file.batch(i).block);
  const end = blockEnd(blocks.at(-1) ?? { offset: 0, metadataLength: 0, bodyLength: 0 });
  const listed = blocks.filter((_, i) => i !== 1);
  const footer = encodeFooter(arrowSchema(JSON.stringify(METADATA), false), file.dictionaryBlocks, listed);
  file.close();
  writeFileSync(path, Buffer.concat([readFileSync(path).subarray(0, end), fileEnd(footer)]));
  expect(kinds(verifyTrace(path).problems)).toEqual(['footer error', 'seq error 10']);
});

test('problems are counted, and the first hundred kept', async () => {
  const path = join(folder, 'many.arrow');
  const writer = TraceWriter.create(path, METADATA);
  const ts = BigUint64Array.from({ length: 301 }, (_, i) => BigInt(1000 - i));
  writer.append({ rows: 301, op: new Uint8Array(301).fill(15), columns: { ts_ns: ts }, validity: {} });
  await writer.finish({ exitStatus: 0, lostEvents: 0 });
  const { ok, problems, problemCount, outOfOrder, threads } = verifyTrace(path);
  expect([ok, problems.length, problemCount, outOfOrder, threads]).toEqual([true, 100, 300, 300, 0]);
});

test('a file that is cut, and one that is no trace', async () => {
  const path = join(folder, 'cut.arrow');
  await writeTrace(path, 20, 10);
  writeFileSync(path, readFileSync(path).subarray(0, -20));
  expect(verifyTrace(path)).toMatchObject({ ok: false, rows: 21, problems: [{ kind: 'truncated' }] });
  const text = join(folder, 'text');
  writeFileSync(text, 'hello');
  expect(verifyTrace(text)).toMatchObject({
    ok: false,
    rows: 0,
    problems: [{ kind: 'structure', message: expect.stringContaining('not a trace') as string }],
  });
  thrownBy(() => verifyTrace(join(folder, 'missing')), 'NO_INPUT');
});
