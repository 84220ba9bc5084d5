import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testFolder } from '../../capture/trace/testing/sample.ts';
import { rejectedBy } from '../testing/rejected-by.ts';
import type { Analysis } from './analysis.ts';
import { openAnalysis } from './open-analysis.ts';

const folder = testFolder();

/** One of each kind that a trace's columns and the views have, with nulls, for many chunks. */
const ROWS = 5_000;
const SQL = `
  select
    if(i % 3 = 0, null, i)::ubigint as big, (-i)::bigint as negative, i::usmallint as small, i / 4 as share, i % 2 = 0 as even,
    if(i % 5 = 0, 'text "' || i || '", é', null) as text, if(i % 7 = 0, null, ['mark', 'lost'][1 + i % 2])::op_name as op,
    i::hugeint * 1000000000000000000000 as huge, [i] as list
  from range(${ROWS}) as r(i) order by i;
`;

let analysis: Analysis;
beforeAll(async () => {
  analysis = await openAnalysis([], { threads: 1 });
});
afterAll(() => analysis.close());

async function copied(name: string, format: Parameters<Analysis['copyTo']>[1], sql = SQL): Promise<string> {
  const path = join(folder, name);
  await analysis.copyTo(sql, format, path);
  return path;
}

test('arrow opens in apache-arrow with types, nulls and dictionary', async () => {
  const table = tableFromIPC(readFileSync(await copied('rows.arrow', 'arrow')));
  expect(table.numRows).toBe(ROWS);
  expect(table.schema.fields.map(({ type }) => String(type))).toEqual([
    'Uint64',
    'Int64',
    'Uint16',
    'Float64',
    'Bool',
    'Utf8',
    'Dictionary<Uint8, Utf8>',
    'Utf8',
    'Utf8',
  ]);
  for (const i of [0, 1, 35, 2047, 2048, 4999]) {
    expect(table.get(i)?.toArray()).toEqual([
      i % 3 === 0 ? null : BigInt(i),
      BigInt(-i),
      i,
      i / 4,
      i % 2 === 0,
      i % 5 === 0 ? `text "${i}", é` : null,
      i % 7 === 0 ? null : i % 2 === 0 ? 'mark' : 'lost',
      `${BigInt(i) * 1_000_000_000_000_000_000_000n}`,
      `[${i}]`,
    ]);
  }
});

test('a result without rows is a whole Arrow file', async () => {
  const table = tableFromIPC(readFileSync(await copied('none.arrow', 'arrow', 'select 1 as x where false')));
  expect([table.numRows, table.schema.names]).toEqual([0, ['x']]);
});

test('json and jsonl have wide integers as text', async () => {
  const first = {
    big: null,
    negative: '0',
    small: 0,
    share: 0,
    even: true,
    text: 'text "0", é',
    op: null,
    huge: '0',
    list: [0],
  };
  const json = JSON.parse(readFileSync(await copied('rows.json', 'json'), 'utf8')) as unknown[];
  const lines = readFileSync(await copied('rows.jsonl', 'jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  expect(json.length).toBe(ROWS);
  expect(json[0]).toEqual(first);
  expect(json.map((row) => (row as { small: number }).small)).toEqual(Array.from({ length: ROWS }, (_, i) => i));
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(json);
});

test('csv has a header and quotes what needs it', async () => {
  const lines = readFileSync(await copied('rows.csv', 'csv'), 'utf8').split('\n');
  expect(lines.slice(0, 2)).toEqual([
    'big,negative,small,share,even,text,op,huge,list',
    ',0,0,0.0,true,"text ""0"", é",,0,[0]',
  ]);
  expect(lines.length).toBe(ROWS + 2);
});

test('parquet is read back as it was', async () => {
  const path = await copied('rows.parquet', 'parquet');
  await using open = await openAnalysis([], { allowFiles: true });
  const digest = 'select count(*), sum(big), sum(negative), count(text), count(op), max(huge)::varchar from';
  const before = await analysis.query(`${digest} (${SQL.trim().slice(0, -1)})`);
  expect((await open.query(`${digest} '${path}'`)).rows).toEqual(before.rows);
});

test('a query that fails leaves nothing, neither under the name nor beside it', async () => {
  const path = join(folder, 'fails.csv');
  for (const format of ['csv', 'jsonl', 'arrow', 'parquet'] as const) {
    const sql = `select error('stop') from range(10000) r(i) where i = 9000`;
    const error = await rejectedBy(() => analysis.copyTo(sql, format, path), 'USAGE');
    expect(error.message).toContain('stop');
  }
  expect(existsSync(path)).toBe(false);
  expect(readdirSync(folder).filter((name) => name.includes('fails'))).toEqual([]);
});

test('a folder that is not there is an IO error with its name', async () => {
  const path = join(folder, 'none', 'x.csv');
  const error = await rejectedBy(() => analysis.copyTo('select 1', 'csv', path), 'IO');
  expect(error.path).toBe(path);
});
