/** Files must mean the same to other programs' readers: polars (Rust, its own Arrow implementation) and apache-arrow's. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC, type Vector } from 'apache-arrow';
import polars from 'nodejs-polars';
import { expect, test } from 'vitest';
import { OPS } from '../../native/index.ts';
import type { RowValue } from './rows.ts';
import { COLUMNS } from './schema.ts';
import { expectedRow, METADATA, testFolder, writeTrace } from './testing/sample.ts';

const folder = testFolder();
const ROWS = 1000;
const NAMES = COLUMNS.map(({ name }) => name).filter((name) => name !== 'lag_ns');

/** Other readers give small 64-bit values as numbers. */
function normal(value: unknown): RowValue {
  if (typeof value === 'bigint' || typeof value === 'number') return BigInt(value);
  return typeof value === 'string' ? value : null;
}

test('polars reads every value, null and name', async () => {
  // nodejs-polars takes a path for a path only if it ends like this.
  const path = join(folder, 'polars.ipc');
  await writeTrace(path, ROWS, 300);
  const frame = polars.readIPC(path);
  expect(frame.columns).toEqual(NAMES);
  expect(frame.height).toBe(ROWS + 1);
  expect(String(frame.getColumn('op').dtype)).toContain('Categorical');
  const records = frame.toRecords() as Record<string, unknown>[];
  for (const name of NAMES) {
    const values = records.slice(0, ROWS).map((record) => normal(record[name]));
    expect(values, name).toEqual(records.slice(0, ROWS).map((_, seq) => normal(expectedRow(seq)[name])));
  }
  expect(records[ROWS]).toMatchObject({ op: 'mark', detail: 'trace_end', result: 3, len: 5n });
});

test("apache-arrow's reader reads every value, null and name", async () => {
  const path = join(folder, 'arrow.arrow');
  await writeTrace(path, ROWS, 300);
  const table = tableFromIPC(readFileSync(path));
  expect(table.schema.fields.map(({ name }) => name)).toEqual(NAMES);
  expect(JSON.parse(table.schema.metadata.get('cvmtrace') ?? '')).toEqual(METADATA);
  expect(table.numRows).toBe(ROWS + 1);
  for (const { name } of table.schema.fields) {
    const column = table.getChild(name) as Vector;
    const values = Array.from({ length: ROWS }, (_, seq) => normal(column.get(seq)));
    expect(values, name).toEqual(values.map((_, seq) => normal(expectedRow(seq)[name])));
  }
  const dictionary = table.getChild('op')?.data[0]?.dictionary as Vector<never> | undefined;
  expect(dictionary && [...dictionary]).toEqual(OPS);
});
