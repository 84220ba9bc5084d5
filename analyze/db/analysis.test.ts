import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testFolder, writeTrace } from '../../capture/trace/testing/sample.ts';
import { rejectedBy } from '../testing/rejected-by.ts';
import type { Analysis } from './analysis.ts';
import { openAnalysis } from './open-analysis.ts';

const folder = testFolder();
const trace = join(folder, 'trace.arrow');
const secret = join(folder, 'secret.csv');

let analysis: Analysis;
beforeAll(async () => {
  await writeTrace(trace, 20_000, 5_000);
  writeFileSync(secret, 'a\n1\n');
  analysis = await openAnalysis([trace]);
});
afterAll(() => analysis.close());

describe('queries', () => {
  test('several statements: the rows of the last; temporary tables last for the call', async () => {
    const { columns, rows } = await analysis.query(
      'create temp table x as select 7 as n; select n, n::ubigint as big from x',
    );
    expect(columns).toEqual([
      { name: 'n', type: 'INTEGER' },
      { name: 'big', type: 'UBIGINT' },
    ]);
    expect(rows).toEqual([[7, 7n]]);
    await rejectedBy(() => analysis.query('from x'), 'USAGE');
  });

  test('maxRows cuts the result and says so', async () => {
    expect(await analysis.query('select seq from events order by seq', { maxRows: 3 })).toMatchObject({
      rows: [[0n], [1n], [2n]],
      truncated: true,
    });
    expect((await analysis.query('select 1', { maxRows: 1 })).truncated).toBe(false);
  });

  test('a stream gives typed columns with validity', async () => {
    const stream = await analysis.stream('select seq, vcpu, op, detail from events where seq < 5000 order by seq');
    let rows = 0;
    for await (const { rows: count, columns } of stream) {
      const [seq, vcpu, op, detail] = columns;
      expect(seq?.values).toBeInstanceOf(BigUint64Array);
      expect(vcpu?.values).toBeInstanceOf(Uint16Array);
      expect(op?.values).toBeInstanceOf(Uint8Array);
      expect(detail?.values[0]).toBe(rows % 9 === 0 ? `détail ${rows} 🙂` : null);
      for (let i = 0; i < count; i++) {
        expect(((vcpu?.validity?.[i >> 3] ?? 0xff) >> (i & 7)) & 1).toBe((rows + i) % 4 === 3 ? 0 : 1);
      }
      rows += count;
    }
    expect(rows).toBe(5000);
  });

  test('a wrong query is one line with a hint', async () => {
    const error = await rejectedBy(() => analysis.query('select nonsense from events'), 'USAGE');
    expect(error.message).not.toContain('\n');
    expect(error.message).toContain('nonsense');
    expect(error.hint).toBeTruthy();
    await rejectedBy(() => analysis.query('select from where'), 'USAGE');
    await rejectedBy(() => analysis.query('  -- nothing'), 'USAGE');
  });
});

describe('untrusted SQL', () => {
  const refused = [
    `select * from read_csv('${secret}')`,
    `select * from '${secret}'`,
    `select * from read_text('/etc/passwd')`,
    `select * from glob('/etc/*')`,
    `copy (select 1) to '${join(folder, 'out.csv')}'`,
    `attach '${join(folder, 'other.db')}'`,
    `export database '${join(folder, 'export')}'`,
    `select * from read_parquet('https://example.invalid/x.parquet')`,
    'install httpfs',
    `load '${join(folder, 'evil.duckdb_extension')}'`,
  ];

  test.each(refused)('%s', async (sql) => {
    const error = await rejectedBy(() => analysis.query(sql), 'USAGE');
    expect(error.message).not.toContain('\n');
  });

  test('the refusal of a file says how to allow it', async () => {
    const error = await rejectedBy(() => analysis.query(`from read_csv('${secret}')`), 'USAGE');
    expect(error.hint).toContain('--allow-files');
  });

  test.each([
    'set enable_external_access = true',
    "set allowed_paths = ['/']",
    "set memory_limit = '1TB'",
    'reset lock_configuration',
  ])('%s', async (sql) => {
    await rejectedBy(() => analysis.query(sql), 'USAGE');
  });

  test('nothing was written', () => {
    expect(readdirSync(folder).toSorted()).toEqual(['secret.csv', 'trace.arrow']);
  });

  test('files are read when they are allowed', async () => {
    await using open = await openAnalysis([trace], { allowFiles: true });
    expect((await open.query(`from read_csv('${secret}')`)).rows).toEqual([[1n]]);
  });
});

describe('stopping', () => {
  /** Takes minutes if nothing stops it. */
  const ENDLESS = 'select count(*) from events a, events b, events c';

  test('interrupt ends a query with INTERRUPTED, and the next one works', async () => {
    const stopped = rejectedBy(() => analysis.query(ENDLESS), 'INTERRUPTED');
    // At once, before DuckDB has begun: it would forget that one.
    analysis.interrupt();
    await stopped;
    expect((await analysis.query('select count(*) from events')).rows).toEqual([[20_001n]]);
  });

  test('a stream that is left half-way is closed', async () => {
    for await (const { rows } of await analysis.stream('select * from events')) {
      expect(rows).toBeGreaterThan(0);
      break;
    }
    const stream = await analysis.stream('select * from events');
    await stream.next();
    await stream.close();
    await stream.close();
    expect(await stream.next()).toBeNull();
  });

  test('close stops what runs, removes the scratch folder, and can be called twice', async () => {
    const tempDir = mkdtempSync(join(tmpdir(), 'cvmtrace-close-'));
    try {
      const closing = await openAnalysis([trace], { tempDir });
      const half = await closing.stream('select * from events');
      await half.next();
      const stopped = rejectedBy(() => closing.query(ENDLESS), 'INTERRUPTED');
      await closing.query('select 1');
      await closing.close();
      await stopped;
      await closing.close();
      expect(readdirSync(tempDir)).toEqual([]);
      await expect(closing.query('select 1')).rejects.toThrow('closed');
    } finally {
      rmSync(tempDir, { recursive: true });
    }
  });

  test('a failed opening leaves nothing behind', async () => {
    const tempDir = mkdtempSync(join(tmpdir(), 'cvmtrace-fail-'));
    try {
      await rejectedBy(() => openAnalysis([trace, '/nowhere/x.arrow'], { tempDir }), 'NO_INPUT');
      expect(readdirSync(tempDir)).toEqual([]);
    } finally {
      rmSync(tempDir, { recursive: true });
    }
  });

  test('a temporary folder that is not there is an IO error', async () => {
    const tempDir = join(folder, 'not-there');
    await rejectedBy(() => openAnalysis([], { tempDir }), 'IO');
    expect(existsSync(tempDir)).toBe(false);
  });
});
