/** Traces and SQL that mean ill: each gives a right answer or a CvmtraceError, in bounded time, and nothing is reached but the trace. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { METADATA, testFolder } from '../../capture/trace/testing/sample.ts';
import { CvmtraceError, OPS, type OpName } from '../../native/index.ts';
import { analyzeTrace, type Report } from '../report/report.ts';
import type { InlineRow } from '../testing/inline-rows.ts';
import { rejectedBy } from '../testing/rejected-by.ts';
import { PAGE, VmmStory } from '../testing/vmm-story.ts';
import { writeRows } from '../testing/write-rows.ts';
import type { Analysis } from './analysis.ts';
import { library } from './library.ts';
import { openAnalysis } from './open-analysis.ts';

const folder = testFolder();
const TOP = 2n ** 64n - 1n;

let traces = 0;
async function written(rows: readonly InlineRow[]): Promise<string> {
  const path = join(folder, `${traces++}.arrow`);
  await writeRows(path, rows);
  return path;
}

/** Everything of the library that has rows, and the report. */
async function askAll(path: string): Promise<Report> {
  await using analysis = await openAnalysis([path], { threads: 2 });
  await analysis.keepExpensive();
  for (const { kind, name, sql } of library()) {
    if (kind === 'macro') continue;
    try {
      await analysis.query(kind === 'view' ? `select count(*) from (select * from ${name})` : sql, { maxRows: 10 });
    } catch (cause) {
      throw new Error(`${name}: ${String(cause)}`, { cause });
    }
  }
  return await analyzeTrace(analysis);
}

/** The report, and what it does not have of what is computed from all rows. */
async function ask(path: string): Promise<Report> {
  await using analysis = await openAnalysis([path], { threads: 2 });
  for (const view of ['hazards', 'conversions', 'page_flips'])
    await analysis.query(`select count(*) from (select * from ${view})`);
  return await analyzeTrace(analysis);
}

async function select(path: string, sql: string): Promise<unknown[][]> {
  await using analysis = await openAnalysis([path], { threads: 1 });
  return (await analysis.query(sql)).rows.map((row) => [...row]);
}

function randomOf(seed: number): (limit: number) => number {
  const generator = xoroshiro128plus(Math.imul(seed, 0x9e37_79b1));
  for (let i = 0; i < 8; i++) generator.next();
  return (limit) => Math.floor(((generator.next() >>> 0) / 2 ** 32) * limit);
}

describe('numbers that no kernel writes', () => {
  const EDGES = [0n, 1n, 4095n, 4096n, 2n ** 32n, 2n ** 52n, 2n ** 53n + 1n, 2n ** 62n, 2n ** 63n, TOP - 4095n, TOP];
  const MEMORY_OPS: readonly OpName[] = OPS.filter((op) => op !== 'mark' && op !== 'lost');

  test('in every column of every operation', async () => {
    const random = randomOf(7);
    const edge = (): bigint => EDGES[random(EDGES.length)] ?? 0n;
    const rows = Array.from({ length: 3000 }, (): InlineRow => {
      const row: Record<string, number | bigint | string> = { op: MEMORY_OPS[random(MEMORY_OPS.length)] ?? 'mark' };
      for (const name of ['ts_ns', 'dur_ns', 'gpa', 'hva', 'iova', 'offset', 'len', 'attrs', 'flags'])
        if (random(4) > 0) row[name] = edge();
      for (const name of ['pid', 'tid', 'obj']) if (random(3) > 0) row[name] = [0, 1, 2, 2 ** 32 - 1][random(4)] ?? 0;
      if (random(2) === 0) row.vcpu = [0, 1, 65_535][random(3)] ?? 0;
      if (random(2) === 0) row.result = [0n, -1n, 4096n, -(2n ** 63n), 2n ** 63n - 1n][random(5)] ?? 0n;
      row.errno = [0, 0, 0, 2, 11, 17, 22, 28, 65_535][random(9)] ?? 0;
      return row as unknown as InlineRow;
    });
    const report = await askAll(await written(rows));
    expect(report.header.rows).toBe(rows.length + 1);
  });

  test('mappings at the end of the address space are there', async () => {
    const path = await written([
      { op: 'iommufd_ioas_alloc', obj: 1 },
      { op: 'iommufd_ioas_map', obj: 1, iova: TOP - 4095n, hva: 4096, len: 4096, flags: 7, result: 0 },
      { op: 'iommufd_ioas_unmap', obj: 1, iova: 0, len: TOP, result: 4096 },
    ]);
    expect(await select(path, 'select iova, len, map_seq, unmap_seq, ended_by from dma_mappings')).toEqual([
      [TOP - 4095n, 4096n, 1n, 2n, 'unmap_all'],
    ]);
  });

  test('times that go back, and no order in seq', async () => {
    const rows = Array.from({ length: 64 }, (_, i): InlineRow => ({
      op: i % 2 === 0 ? 'exit_map_gpa_range' : 'kvm_set_memory_attributes',
      tid: 1,
      vcpu: 0,
      ts_ns: 10_000 - i * 10,
      dur_ns: 1000,
      gpa: (i >> 1) * PAGE,
      len: PAGE,
      attrs: i % 2 === 0 ? 16 : 8,
      result: 0,
    }));
    const path = await written(rows);
    expect((await ask(path)).loss?.seqMissing).toBe(0n);
    // The same with other numbers where the rows' own were.
    const bytes = readFileSync(path);
    const seqs = Buffer.from(BigUint64Array.from(rows, (_, i) => BigInt(i)).buffer);
    const at = bytes.indexOf(seqs);
    expect(at).toBeGreaterThan(0);
    const damages: ((i: number) => bigint)[] = [
      (i) => BigInt(63 - i),
      () => 5n,
      (i) => TOP - BigInt(i),
      (i) => BigInt(i) << 40n,
    ];
    for (const damage of damages) {
      const damaged = join(folder, `${traces++}.arrow`);
      Buffer.from(BigUint64Array.from(rows, (_, i) => damage(i)).buffer).copy(bytes, at);
      writeFileSync(damaged, bytes);
      expect((await ask(damaged)).header.rows).toBe(65);
    }
  });
});

describe('much of everything', () => {
  /** ms. What is linear takes a second or two; what is quadratic takes a minute, and is stopped. */
  const BOUND_MS = 10_000;
  const ROWS = 10_000;

  const half = ROWS / 2;
  const attributes = (gpa: number, len: number, attrs: number): InlineRow => ({
    op: 'kvm_set_memory_attributes',
    obj: 1,
    gpa,
    len,
    attrs,
  });

  const traces: Readonly<Record<string, () => InlineRow[]>> = {
    'ranges that each lie in the one before': () =>
      Array.from({ length: 4 * ROWS }, (_, i) => ({
        ...attributes(i * PAGE, (8 * ROWS - 2 * i) * PAGE, i % 2 === 0 ? 8 : 0),
        ts_ns: i * 1000,
      })),
    'a large range that changes sides again and again over small ones': () =>
      Array.from({ length: ROWS }, (_, i) =>
        i < half ? attributes(i * 2 * PAGE, PAGE, 8) : attributes(0, ROWS * PAGE, i % 2 === 0 ? 8 : 0),
      ),
    'a new object in each row, with numbers from the whole range': () => {
      const random = randomOf(3);
      return Array.from({ length: ROWS }, (_, i): InlineRow => {
        const names = { obj: random(2 ** 32), pid: random(2 ** 32), tid: random(2 ** 32), vcpu: i % 65_536 };
        const row = { ...names, ts_ns: i * 10, dur_ns: 5, gpa: i * PAGE, hva: i * PAGE, offset: 0, len: PAGE };
        const slot = { attrs: BigInt(i) << 32n, flags: 4 };
        const rows: InlineRow[] = [
          { op: 'exit_map_gpa_range', ...row, attrs: 16, result: 0 },
          { op: 'vfio_map_dma', ...row, iova: i * PAGE, flags: 3, result: 0 },
          { op: 'kvm_set_user_memory_region2', ...row, ...slot },
          { op: 'gmem_allocate', ...row },
          { op: 'iommufd_ioas_map', ...row, iova: 0, flags: 7, result: 0 },
        ];
        return rows[i % rows.length] as InlineRow;
      });
    },
    'the same host memory in a thousand slots, and mapped again and again': () => [
      ...Array.from({ length: ROWS / 8 }, (_, i): InlineRow => {
        const place = { gpa: i * 2 ** 30, hva: 2 ** 40, len: 2 ** 20 };
        return { op: 'kvm_set_user_memory_region', obj: 1, ...place, attrs: i, flags: 0 };
      }),
      ...Array.from({ length: half }, (_, i): InlineRow => {
        const hva = 2 ** 40 + (i % 256) * PAGE;
        return { op: 'vfio_map_dma', obj: 2, iova: i * PAGE, hva, len: PAGE, flags: 3, result: 0 };
      }),
      ...Array.from({ length: ROWS / 8 }, (_, i) => attributes(i * 2 ** 30, 2 ** 20, 8)),
    ],
    'mappings that each hold all of the one before': () =>
      Array.from({ length: ROWS }, (_, i): InlineRow => {
        if (i >= half) return { op: 'vfio_unmap_dma', obj: 2, iova: (i - half) * PAGE, len: PAGE, flags: 0, errno: 22 };
        const gpa = (half - i) * PAGE;
        return { op: 'vfio_map_dma', obj: 2, iova: gpa, gpa, len: 2 * i * PAGE + PAGE, flags: 3, result: 0 };
      }),
    'a page that is mapped at thousands of addresses, and converted as often': () =>
      Array.from({ length: ROWS }, (_, i): InlineRow =>
        i < half
          ? { op: 'vfio_map_dma', obj: 2, iova: i * PAGE, gpa: 0, len: PAGE, flags: 3, result: 0 }
          : attributes(0, PAGE, i % 2 === 0 ? 8 : 0),
      ),
    'live updates that never end, of everything': () =>
      Array.from({ length: 4 * ROWS }, (_, i): InlineRow =>
        i < 2 * ROWS
          ? { op: 'vfio_map_dma', obj: 2, iova: i * PAGE, hva: 0, len: PAGE, flags: 3, result: 0 }
          : { op: 'vfio_unmap_dma', obj: 2, iova: 0, len: 0, flags: 6, result: 1 },
      ),
    'exits of as many threads, all at once': () =>
      Array.from({ length: ROWS }, (_, i): InlineRow => {
        const time = { ts_ns: i, dur_ns: 10 ** 9 - 3 * i };
        return {
          op: 'exit_map_gpa_range',
          tid: i,
          vcpu: i,
          ...time,
          gpa: 0,
          len: 2 ** 30,
          attrs: i % 2 === 0 ? 16 : 0,
        };
      }),
  };

  test.each(Object.keys(traces))(
    '%s',
    async (name) => {
      const path = await written(traces[name]?.() ?? []);
      await using analysis = await openAnalysis([path], { threads: 2 });
      let asking = '';
      let stopped: string | undefined;
      const timer = setTimeout(() => {
        stopped = asking;
        analysis.interrupt();
      }, BOUND_MS);
      try {
        for (asking of ['hazards', 'conversions', 'page_flips'])
          await analysis.query(`select count(*) from (select * from ${asking})`);
      } catch (error) {
        if (stopped === undefined) throw error;
      } finally {
        clearTimeout(timer);
      }
      expect(stopped).toBeUndefined();
    },
    BOUND_MS * 4,
  );
});

test('quotes, statements, control characters and megabytes are only text: in marks, paths, metadata and names of operations', async () => {
  const controls = String.fromCharCode(...Array.from({ length: 32 }, (_, i) => i), 0x7f, 0x9b);
  const name = `${controls}'); drop table traces; --\u202e`.repeat(30_000);
  const evil = `x'); drop table traces; select ('\n\u001b[31m"`;
  const evilOp = `a'); drop table x--`;
  const path = join(folder, `${evil}.arrow`);
  const metadata = { ...METADATA, command: [evil], workload: { name: evil, seed: 1, parameters: { [evil]: evil } } };
  const rows: InlineRow[] = [
    { op: 'mark', ts_ns: 0, detail: name },
    { op: 'exit_map_gpa_range', ts_ns: 10, dur_ns: 5, vcpu: 0, gpa: 0, len: PAGE, attrs: 16 },
    { op: 'mark', ts_ns: 20, detail: '' },
    { op: 'kvm_check_extension', obj: 1, attrs: 1 },
  ];
  await writeRows(path, rows, metadata);
  const bytes = readFileSync(path);
  expect(evilOp.length).toBe('kvm_check_extension'.length);
  bytes.write(evilOp, bytes.indexOf('kvm_check_extension'), 'latin1');
  writeFileSync(path, bytes);
  const report = await askAll(path);
  expect(report.phases.some((phase) => phase.name === name)).toBe(true);
  expect(report.header.metadata.command).toEqual([evil]);
  expect(report.latency.map(({ op }) => op)).toContain(evilOp);
  expect(await select(path, `select path, metadata->>'$.command[0]' from traces`)).toEqual([[path, evil]]);
});

test('bytes that were changed at random: a report, or one line that says what is wrong', async () => {
  const vmm = new VmmStory({ shape: 'recorded', api: 'type1' }).open();
  for (let i = 0; i < 40; i++) vmm.convert(i % 2, i % 4 < 2 ? 'shared' : 'private', (i % 2) * 16 * PAGE, 4 * PAGE);
  const good = readFileSync(await written(vmm.rows));
  const random = randomOf(11);
  const outcomes = { reports: 0, refusals: 0 };
  for (let run = 0; run < 10; run++) {
    const bytes = Buffer.from(good);
    for (let damage = 0; damage <= run % 4; damage++) {
      const at = random(bytes.length - 8);
      if (random(2) === 0) bytes[at] = random(256);
      else bytes.writeBigUInt64LE([TOP, 0n, 2n ** 63n][random(3)] ?? 0n, at);
    }
    const path = join(folder, `${traces++}.arrow`);
    writeFileSync(path, bytes);
    try {
      await using analysis = await openAnalysis([path], { threads: 1 });
      await analysis.query('select * from hazards');
      await analyzeTrace(analysis);
      outcomes.reports++;
    } catch (error) {
      if (!(error instanceof CvmtraceError)) throw new Error(`run ${run}`, { cause: error });
      expect(['BAD_INPUT', 'USAGE']).toContain(error.code);
      expect(error.message).not.toContain('\n');
      outcomes.refusals++;
    }
  }
  expect(Math.min(outcomes.reports, outcomes.refusals)).toBeGreaterThan(0);
});

describe('SQL that reaches for what is outside', () => {
  const inside = join(folder, 'inside');
  const out = join(inside, 'out');
  let analysis: Analysis;
  beforeAll(async () => {
    mkdirSync(inside);
    const path = join(inside, 'trace.arrow');
    await writeRows(path, [{ op: 'mark', detail: 'x' }]);
    analysis = await openAnalysis([path], { threads: 1 });
  });
  afterAll(() => analysis.close());

  test.each([
    `select getenv('HOME')`,
    `from read_blob('/etc/hostname')`,
    `from sniff_csv('/etc/passwd')`,
    `from parquet_metadata('/etc/passwd')`,
    `from parquet_kv_metadata('/etc/passwd')`,
    `from read_json('/etc/passwd')`,
    `from read_ndjson_objects('/etc/passwd')`,
    `from read_duckdb('/etc/passwd')`,
    `from 'file:///etc/passwd'`,
    `from query('from read_text(''/etc/passwd'')')`,
    `from query_table('/etc/passwd')`,
    `from read_trace('/etc/passwd')`,
    `create table t (a varchar); copy t from '/etc/passwd'`,
    `import database '/etc'`,
    `pragma import_database('/etc')`,
    `export database '${out}'`,
    `attach ':memory:' as other`,
    `attach 'http://example.invalid/x.duckdb'`,
    `explain analyze copy (select 1) to '${out}'`,
    `prepare p as copy (select 1) to '${out}'`,
    `create secret s (type s3, key_id 'a', secret 'b')`,
    `create persistent secret s (type http)`,
    `load json`,
    `force install json`,
    `update extensions`,
    `pragma enable_profiling='json'`,
    `call enable_logging('QueryLog')`,
    `from pandas_scan(1::ubigint)`,
    ...[
      ...['temp_directory', 'extension_directory', 'secret_directory', 'home_directory', 'file_search_path'],
      ...['profiling_output', 'log_query_path', 'custom_user_agent', 'http_proxy', 'logging_storage'],
    ].map((name) => `set ${name} = '${out}'`),
    `set max_memory = '1TB'`,
    `set threads = 500`,
    `set allow_unsigned_extensions = true`,
    `set lock_configuration = false`,
    `pragma memory_limit='10GB'`,
  ])('%s', async (sql) => {
    const error = await rejectedBy(() => analysis.query(sql), 'USAGE');
    expect(error.message).not.toContain('\n');
    expect(readdirSync(inside)).toEqual(['trace.arrow']);
  });

  test.each([
    `from test_all_types()`,
    `select date '290309-12-22 (BC)'`,
    `select 'infinity'::timestamp, '-infinity'::date`,
  ])('a value that JavaScript has no type for: %s', async (sql) => {
    try {
      await analysis.query(sql);
    } catch (error) {
      expect(error).toBeInstanceOf(CvmtraceError);
    }
  });

  test('what it breaks is its own: the views of the next analysis are whole', async () => {
    await analysis.query('drop table traces; create or replace view events as select 1 as a');
    const path = join(inside, 'trace.arrow');
    expect(await select(path, 'select count(*) from traces')).toEqual([[1n]]);
    expect(await select(path, 'select count(*) from events')).toEqual([[2n]]);
  });
});
