import { join } from 'node:path';
import { expect, test } from 'vitest';
import { opCode, OPS, type ExecutedBatch } from '../../native/index.ts';
import { BATCH_ROWS, type TraceBatch } from './batch.ts';
import { ColumnScratch } from './column-data.ts';
import { TraceFile } from './reader.ts';
import { readRows } from './rows.ts';
import { COLUMNS } from './schema.ts';
import { batchAt, rowAt } from './testdata/deterministic-rows.mjs';
import { expectRows, METADATA, testFolder } from './testing/sample.ts';
import { TraceWriter } from './writer.ts';

const folder = testFolder();

async function roundTrip(name: string, appends: readonly number[], check: (file: TraceFile) => void): Promise<void> {
  const path = join(folder, name);
  const writer = TraceWriter.create(path, METADATA);
  for (const rows of appends) writer.append(batchAt(writer.rows, rows));
  const written = await writer.finish({ exitStatus: -1, lostEvents: 7 });
  const file = TraceFile.open(path);
  try {
    const total = appends.reduce((sum, rows) => sum + rows, 0);
    expect(written).toMatchObject({ path, rows: total + 1, batches: file.batchCount, sizeBytes: file.sizeBytes });
    expect(file.complete).toBe(true);
    expect(file.end).toEqual({ exitStatus: -1n, lostEvents: 7n });
    expect(file.metadata).toEqual(METADATA);
    expect(file.ops).toEqual(OPS);
    expect(expectRows(file, total)).toBe(total + 1);
    check(file);
  } finally {
    file.close();
  }
}

test('a trace of no rows has only its end', async () => {
  await roundTrip('empty.arrow', [], (file) => {
    const [row] = [...readRows(file)];
    const nulls = Object.fromEntries(COLUMNS.filter(({ nullable }) => nullable).map(({ name }) => [name, null]));
    delete nulls.lag_ns;
    expect(row).toEqual({ ...nulls, seq: 0n, op: 'mark', errno: 0, detail: 'trace_end', result: -1n, len: 7n });
  });
});

test('small appends become one batch, at any bit of the bitmaps', async () => {
  await roundTrip('small.arrow', [1, 0, 2, 3, 5, 7, 8, 9, 16, 31, 64, 100, 1, 1000, 8191], (file) => {
    expect(file.batchCount).toBe(1);
  });
});

test('small appends never make a batch of more than 65536 rows', async () => {
  await roundTrip('coalesced.arrow', Array<number>(14).fill(5000), (file) => {
    expect([file.batch(0).rows, file.batch(1).rows]).toEqual([65_000, 5001]);
    expect(file.batch(1).firstRow).toBe(65_000);
  });
});

test('a large append is split where its bitmaps can be', async () => {
  await roundTrip('split.arrow', [3, BATCH_ROWS + 11, 4], (file) => {
    const rows = Array.from({ length: file.batchCount }, (_, i) => file.batch(i).rows);
    expect(rows).toEqual([3, BATCH_ROWS, 11, 5]);
  });
});

test("an executor's batch is a batch of the writer as it is", async () => {
  const path = join(folder, 'executed.arrow');
  const { columns } = batchAt(0, 4);
  const { ts_ns, dur_ns, vcpu, obj, gpa, hva, iova, offset, len, attrs, flags, result } =
    columns as ExecutedBatch['columns'];
  const executed: ExecutedBatch = {
    rows: 3,
    op: Uint8Array.of(opCode('mark'), 2, 3, 4),
    errno: Uint16Array.of(0, 25, 11, 9),
    columns: { ts_ns, dur_ns, vcpu, obj, gpa, hva, iova, offset, len, attrs, flags, result },
    validity: { ts_ns: Uint8Array.of(0b101) },
    tid: 77,
    failures: 2,
    stopped: true,
  };
  const writer = TraceWriter.create(path, METADATA);
  writer.append(executed);
  // Details may name rows that did not run.
  writer.append({ ...executed, detail: new Map([[3, 'not run'], [2, 'ran'], [0, 'first']]), pid: 5 }); // prettier-ignore
  await writer.finish({ exitStatus: null, lostEvents: 0, tsNs: 9n });
  const file = TraceFile.open(path);
  const rows = [...readRows(file)];
  expect(rows.map(({ pid, tid, errno, ts_ns, detail }) => ({ pid, tid, errno, ts_ns, detail }))).toEqual([
    { pid: null, tid: 77, errno: 0, ts_ns: 0n, detail: null },
    { pid: null, tid: 77, errno: 25, ts_ns: null, detail: null },
    { pid: null, tid: 77, errno: 11, ts_ns: 2000n, detail: null },
    { pid: 5, tid: 77, errno: 0, ts_ns: 0n, detail: 'first' },
    { pid: 5, tid: 77, errno: 25, ts_ns: null, detail: null },
    { pid: 5, tid: 77, errno: 11, ts_ns: 2000n, detail: 'ran' },
    { pid: null, tid: null, errno: 0, ts_ns: 9n, detail: 'trace_end' },
  ]);
  expect(rows[6]?.result).toBeNull();
  file.close();
});

test('a paced run has lag_ns', async () => {
  const path = join(folder, 'paced.arrow');
  const writer = TraceWriter.create(path, METADATA, { paced: true });
  const batch: TraceBatch = {
    rows: 2,
    op: Uint8Array.of(2, 2),
    columns: { lag_ns: BigUint64Array.of(5n, 6n) },
    validity: {},
  };
  writer.append(batch);
  await writer.finish({ exitStatus: 0, lostEvents: 0 });
  const file = TraceFile.open(path);
  expect(file.column('lag_ns')).toMatchObject({ type: 'uint64', known: true });
  expect([...readRows(file)].map((row) => row.lag_ns)).toEqual([5n, 6n, null]);
  file.close();
});

test('a scratch is used again, and a read without one is not overwritten', async () => {
  await roundTrip('scratch.arrow', [10_000, 9000], (file) => {
    const scratch = new ColumnScratch();
    const kept = file.readColumn(0, 'hva');
    const first = file.readColumn(0, 'len', scratch);
    const second = file.readColumn(1, 'len', scratch);
    expect(second.data.buffer).toBe(first.data.buffer);
    expect(second.data[0]).toBe(rowAt(10_000).len);
    expect(kept.data[9999]).toBe(rowAt(9999).hva);
    expect(second.data).toHaveLength(9000);
  });
});
