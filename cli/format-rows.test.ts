import { expect, test } from 'vitest';
import {
  writeCsv,
  writeJsonDocument,
  writeJsonLines,
  writeTable,
  type CellValue,
  type RowSource,
} from './format-rows.ts';
import type { Sink } from './output-file.ts';

const COLUMNS = [
  { name: 'op', type: 'VARCHAR' },
  { name: 'n, "all"', type: 'UBIGINT' },
  { name: 'x', type: 'DOUBLE' },
] as const;

const ROWS: CellValue[][] = [
  ['a "b", c\nd', 2n ** 64n - 1n, 0.5],
  ['', null, NaN],
  [null, 0n, -1e300],
  [new Date(0), true, [1n, { k: Buffer.from([1, 255]) }]],
];

function source(
  rows: CellValue[][],
  columns: RowSource['columns'] = COLUMNS,
): RowSource & { readonly read: () => number } {
  let read = 0;
  async function* batches() {
    for (const row of rows) {
      read++;
      yield await Promise.resolve([row]);
    }
  }
  return { columns, batches: batches(), read: () => read };
}

class TextSink implements Sink {
  text = '';
  pieces = 0;

  write(chunk: string | Uint8Array): Promise<void> {
    this.text += String(chunk);
    this.pieces++;
    return Promise.resolve();
  }
}

test('csv quotes what needs it, and tells null from empty', async () => {
  const sink = new TextSink();
  await writeCsv(source(ROWS.slice(0, 3)), sink);
  expect(sink.text).toBe('op,"n, ""all""",x\n"a ""b"", c\nd",18446744073709551615,0.5\n"",,NaN\n,0,-1e+300\n');
});

test('csv of an empty result is its header', async () => {
  const sink = new TextSink();
  await writeCsv(source([]), sink);
  expect(sink.text).toBe('op,"n, ""all""",x\n');
});

test('jsonl has an object per line, wide integers as strings, and keeps columns of the same name', async () => {
  const sink = new TextSink();
  await writeJsonLines(
    source(ROWS, [
      { name: 'b', type: 'VARCHAR' },
      { name: '1', type: 'UBIGINT' },
      { name: 'b', type: 'DOUBLE' },
    ]),
    sink,
  );
  expect(sink.text.split('\n')).toEqual([
    '{"b":"a \\"b\\", c\\nd","1":"18446744073709551615","b":0.5}',
    '{"b":"","1":null,"b":null}',
    '{"b":null,"1":"0","b":-1e+300}',
    '{"b":"1970-01-01T00:00:00.000Z","1":true,"b":["1",{"k":"01ff"}]}',
    '',
  ]);
});

test.each([0, 1, 3])('json of %i rows is one document', async (count) => {
  const sink = new TextSink();
  await writeJsonDocument(source(ROWS.slice(0, count)), sink, 'sql', ['w']);
  expect(JSON.parse(sink.text)).toMatchObject({
    schema: 'cvmtrace.sql/1',
    columns: COLUMNS,
    rows: { length: count },
    warnings: ['w'],
  });
});

test('a table shows null, aligns numbers right and keeps to one line per row', async () => {
  const sink = new TextSink();
  expect(await writeTable(source(ROWS), sink, 4)).toEqual({ cut: false });
  expect(sink.text.split('\n')).toEqual([
    'op                                    n, "all"                   x',
    'a "b", c\\x0ad             18446744073709551615                 0.5',
    '                                          NULL                 NaN',
    'NULL                                         0             -1e+300',
    '1970-01-01T00:00:00.000Z                  true  ["1",{"k":"01ff"}]',
    '',
  ]);
});

test('a table cuts long values', async () => {
  const sink = new TextSink();
  await writeTable(source([['x'.repeat(81), 1n, 1]]), sink, 10);
  expect(sink.text).toContain(`\n${'x'.repeat(79)}…  `);
});

test('a table stops reading after its last row', async () => {
  const endless = source(Array.from({ length: 1000 }, () => ['a', 1n, 1]));
  expect(await writeTable(endless, new TextSink(), 10)).toEqual({ cut: true });
  expect(endless.read()).toBe(11);
});

test('a large result is written in pieces', async () => {
  const sink = new TextSink();
  await writeCsv(source(Array.from({ length: 2000 }, () => ['x'.repeat(100), 1n, 1])), sink);
  expect(sink.pieces).toBeGreaterThan(3);
  expect(sink.text.length).toBeGreaterThan(200_000);
});
