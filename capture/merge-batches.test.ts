import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ExecutedBatch, opCode } from '../native/index.ts';
import { mergeByStart } from './merge-batches.ts';
import { isValid } from './trace/bitmap.ts';
import { TraceFile } from './trace/reader.ts';
import { readRows } from './trace/rows.ts';
import { METADATA, testFolder } from './trace/testing/sample.ts';
import { TraceWriter } from './trace/writer.ts';

const folder = testFolder();
const OP = opCode('guest_touch');

/** Rows of one thread that start at these times; `gpa` numbers them, and of every second one `vcpu` is null. */
function batch(tid: number, starts: readonly number[], more: Partial<ExecutedBatch> = {}): ExecutedBatch {
  const rows = starts.length;
  const big = (value: (row: number) => number): BigUint64Array =>
    BigUint64Array.from({ length: rows }, (_, row) => BigInt(value(row)));
  const every = big(() => 0);
  return {
    rows,
    op: new Uint8Array(rows).fill(OP),
    errno: Uint16Array.from({ length: rows }, (_, row) => (row === 1 ? tid : 0)),
    columns: {
      ts_ns: big((row) => starts[row] ?? 0),
      gpa: big((row) => tid * 100 + row),
      vcpu: new Uint16Array(rows).fill(tid),
      result: new BigInt64Array(rows).fill(-1n),
      obj: new Uint32Array(rows),
      ...{ dur_ns: every, hva: every, iova: every, offset: every, len: every, attrs: every, flags: every },
    },
    validity: { vcpu: new Uint8Array(Math.ceil(rows / 8)).fill(0x55) },
    tid,
    failures: rows > 1 ? 1 : 0,
    stopped: false,
    ...more,
  };
}

const NO_TEXTS = [new Map<number, string>(), new Map<number, string>()] as const;

describe('mergeByStart', () => {
  it('gives one batch back as it is', () => {
    const only = batch(1, [5, 6]);
    const details = new Map([[0, 'first']]);
    expect(mergeByStart([only], [details])).toEqual({ rows: only, details });
    expect(mergeByStart([], []).rows).toMatchObject({ rows: 0, failures: 0, stopped: false });
  });

  it('orders rows by their start, and what starts at the same time by batch and row', () => {
    const { rows } = mergeByStart([batch(1, [10, 20, 20, 90]), batch(2, [5, 20, 20]), batch(3, [])], [...NO_TEXTS]);
    expect([...rows.columns.ts_ns]).toEqual([5n, 10n, 20n, 20n, 20n, 20n, 90n]);
    expect([...rows.columns.gpa]).toEqual([200n, 100n, 101n, 102n, 201n, 202n, 103n]);
    expect(rows).toMatchObject({ rows: 7, failures: 2, stopped: false });
    expect([...rows.errno]).toEqual([0, 0, 1, 0, 2, 0, 0]);
  });

  it('keeps what is null', () => {
    const { rows } = mergeByStart([batch(1, [10, 20, 30]), batch(2, [15, 25], { validity: {} })], [...NO_TEXTS]);
    expect([...rows.columns.gpa]).toEqual([100n, 200n, 101n, 201n, 102n]);
    expect([0, 1, 2, 3, 4].map((row) => isValid(rows.validity.vcpu, row))).toEqual([true, true, false, true, true]);
    expect(rows.validity.gpa).toBeUndefined();
  });

  it('has a column that only some batches have, null for the others', () => {
    const paced = batch(1, [10, 30]);
    const { rows } = mergeByStart(
      [{ ...paced, columns: { ...paced.columns, lag_ns: BigUint64Array.of(7n, 8n) } }, batch(2, [20, 40])],
      [...NO_TEXTS],
    );
    expect([...(rows.columns.lag_ns ?? [])]).toEqual([7n, 0n, 8n, 0n]);
    expect([0, 1, 2, 3].map((row) => isValid(rows.validity.lag_ns, row))).toEqual([true, false, true, false]);
  });

  it('is stopped if one was', () => {
    const { rows } = mergeByStart([batch(1, [1]), batch(2, [2], { stopped: true })], [...NO_TEXTS]);
    expect(rows.stopped).toBe(true);
  });

  it('is what the writer takes: texts, threads and nulls are in the trace', async () => {
    const { rows, details } = mergeByStart(
      [batch(11, [10, 30]), batch(22, [20, 40])],
      [
        new Map([
          [1, 'second of the first'],
          [9, 'did not run'],
        ]),
        new Map([[0, 'first of the second']]),
      ],
    );
    const path = join(folder, 'merged.arrow');
    const writer = TraceWriter.create(path, METADATA);
    writer.append({ ...rows, detail: details, pid: 5, tid: rows.tid });
    await writer.finish({ exitStatus: 0, lostEvents: 0 });
    const file = TraceFile.open(path);
    const read = [...readRows(file)].slice(0, 4);
    file.close();
    expect(read.map(({ ts_ns, tid, vcpu, gpa, detail }) => [ts_ns, tid, vcpu, gpa, detail])).toEqual([
      [10n, 11, 11, 1100n, null],
      [20n, 22, 22, 2200n, 'first of the second'],
      [30n, 11, null, 1101n, 'second of the first'],
      [40n, 22, null, 2201n, null],
    ]);
  });
});
