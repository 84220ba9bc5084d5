import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { testFolder, writeTrace } from '../../capture/trace/testing/sample.ts';
import type { Analysis } from '../db/analysis.ts';
import { EXPENSIVE } from '../db/kept-trace.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { analyzeTrace } from '../report/report.ts';
import { rejectedBy } from '../testing/rejected-by.ts';
import { keepReport, keptReport, openCached, type CacheUse } from './open-cached.ts';
import type { CacheEntry } from './entry.ts';
import { TraceCache } from './trace-cache.ts';

const program = vi.hoisted(() => ({ key: 'this one' }));
vi.mock('./tool-key.ts', () => ({ toolKey: () => program.key }));

const folder = testFolder();
const BOOT = join(PACKAGE_ROOT, 'datasets/record-private-mem-conversions.parquet');
const OPTIONS = { threads: 1 };

let number = 0;
let cache: TraceCache;
let boot: string;
let troubles: string[];
beforeEach(() => {
  program.key = 'this one';
  cache = new TraceCache(join(folder, `cache-${number++}`, 'analysis'));
  boot = join(folder, `boot-${number}.parquet`);
  copyFileSync(BOOT, boot);
  troubles = [];
});

function use(changes: Partial<CacheUse> = {}): CacheUse {
  const signal = new AbortController().signal;
  return { cache, mode: 'always', signal, onTrouble: (message) => troubles.push(message), ...changes };
}

async function open(paths: readonly string[], changes: Partial<CacheUse> = {}): Promise<Analysis> {
  return openCached(paths, OPTIONS, use(changes));
}

/** The rows and the expensive tables of an analysis, as they do not depend on an order. */
async function contentOf(analysis: Analysis): Promise<unknown> {
  const names = ['events', '_conversions', ...EXPENSIVE];
  const hashes = names.map(
    (name) => `(select bit_xor(hash(t::varchar)) from ${name} t), (select count(*) from ${name})`,
  );
  return (await analysis.query(`select ${hashes.join(', ')}`)).rows;
}

/** Without the cache. */
async function plainContent(paths: readonly string[]): Promise<unknown> {
  await using analysis = await openAnalysis(paths, OPTIONS);
  return await contentOf(analysis);
}

async function cachedContent(paths: readonly string[]): Promise<unknown> {
  await using analysis = await open(paths);
  return await contentOf(analysis);
}

function onlyEntry(): CacheEntry {
  const [entry, ...others] = cache.list();
  if (!entry || others.length > 0) throw new Error(`${others.length + (entry ? 1 : 0)} entries`);
  return entry;
}

function flipBit(bytes: Buffer, at: number): void {
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
}

/** Names of all that is in the cache folder. */
function leftIn({ folder: path }: TraceCache): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

describe('a trace from the cache', () => {
  test('gives the same rows and tables, when they are made and when they are read', async () => {
    const plain = await plainContent([boot]);
    expect(await cachedContent([boot])).toEqual(plain);
    expect(cache.list()).toMatchObject([{ hasTables: true, hasReport: false, places: [{ path: boot }] }]);
    expect(await cachedContent([boot])).toEqual(plain);
    expect(troubles).toEqual([]);
  });

  test('has its number among several, kept or not', async () => {
    const arrow = join(folder, 'sample.arrow');
    await writeTrace(arrow, 500, 100, { force: true });
    const copy = join(folder, 'copy.parquet');
    copyFileSync(boot, copy);
    const paths = [arrow, boot, copy, boot];
    const plain = await plainContent(paths);
    expect(await cachedContent([boot])).toEqual(await plainContent([boot]));
    // 'auto' keeps none of them, but reads what is kept: none is long enough to be looked for.
    await using mixed = await openAnalysis(paths, { ...OPTIONS, kept: new Map([[boot, onlyEntry().kept]]) });
    expect(await contentOf(mixed)).toEqual(plain);
    expect(await cachedContent(paths)).toEqual(plain);
    expect(await cachedContent(paths)).toEqual(plain);
    expect(cache.list()).toHaveLength(2);
  });

  test('is in the order of seq', async () => {
    const shuffled = join(folder, 'shuffled.parquet');
    await using plain = await openAnalysis([boot], OPTIONS);
    const metadata = { cvmtrace: JSON.stringify(plain.traces[0]?.metadata) };
    await plain.copyTo('select * exclude (trace) from events order by hash(seq)', 'parquet', shuffled, { metadata });
    await using kept = await open([shuffled]);
    const { rows } = await kept.query(
      'select count(*) from (select seq < lag(seq) over (order by rowid) as back from _kept_0.rows) where back',
    );
    expect(rows).toEqual([[0n]]);
  });

  test('can be read as a file too, and no other file can', async () => {
    const arrow = join(folder, 'readable.arrow');
    await writeTrace(arrow, 50);
    await using analysis = await open([arrow]);
    expect((await analysis.query(`select count(*) from read_trace('${arrow}')`)).rows).toEqual([[51n]]);
    await rejectedBy(() => analysis.query(`from read_trace('${join(folder, 'sample.arrow')}')`), 'USAGE');
  });

  test('cannot be written by SQL', async () => {
    await (await open([boot])).close();
    const { rowsFile } = onlyEntry().kept;
    const before = readFileSync(rowsFile);
    await using analysis = await open([boot]);
    for (const sql of [
      `copy (select 1) to '${rowsFile}' (format csv, use_tmp_file false)`,
      `copy (select 1) to '${rowsFile}.wal' (format csv, use_tmp_file false)`,
      'create table _kept_0.evil as select 1',
      'delete from _kept_0.rows',
      'drop table _kept_0.rows',
      'detach _kept_0',
      `detach _kept_0; attach '${rowsFile}' as other`,
      `attach '${rowsFile}' as other`,
      'set lock_configuration = false',
    ])
      await rejectedBy(() => analysis.query(sql), 'USAGE');
    expect(readFileSync(rowsFile).equals(before)).toBe(true);
    expect(readdirSync(join(rowsFile, '..')).toSorted()).toEqual(['about', 'tables.duckdb']);
  });
});

describe('the entry of a trace', () => {
  const find = (path: string) => cache.find(path, new AbortController().signal);

  test('is found by the file, and by its content elsewhere; not when it has changed', async () => {
    await (await open([boot])).close();
    const moved = join(folder, 'moved.parquet');
    renameSync(boot, moved);
    copyFileSync(moved, boot);
    expect(await find(moved)).toBeDefined();
    expect(await find(boot)).toBeDefined();
    expect(cache.list()).toHaveLength(1);
    const { mtime, atime, size } = statSync(boot);
    const bytes = readFileSync(boot);
    flipBit(bytes, size >> 1);
    writeFileSync(boot, bytes);
    // The same length and time: the mark is another all the same.
    utimesSync(boot, atime, mtime);
    expect(await find(boot)).toBeUndefined();
    appendFileSync(moved, 'x');
    expect(await find(moved)).toBeUndefined();
    expect(await find(join(folder, 'none.parquet'))).toBeUndefined();
  });

  test('is not read by another version of the program, and goes where the limit is passed', async () => {
    await (await open([boot])).close();
    const first = onlyEntry();
    program.key = 'a new one';
    expect(await find(boot)).toBeUndefined();
    expect(await cachedContent([boot])).toEqual(await plainContent([boot]));
    expect(cache.list().map(({ isCurrent }) => isCurrent)).toEqual([true, false]);
    const small = new TraceCache(cache.folder, 1);
    const other = join(folder, 'other.arrow');
    await writeTrace(other, 10);
    await (await open([other], { cache: small })).close();
    expect(existsSync(first.folder)).toBe(false);
    expect(cache.list().map(({ places }) => places[0]?.path)).toEqual([other]);
  });

  test('is not made of a trace that changes meanwhile', async () => {
    const made = await cache.make(boot, new AbortController().signal, (file) => {
      writeFileSync(file, '');
      appendFileSync(boot, 'x');
      return Promise.resolve({} as never);
    });
    expect(made).toBeUndefined();
    expect(leftIn(cache)).toEqual([]);
  });

  test('is one, if two processes make it at the same time', async () => {
    const both = await Promise.all([open([boot]), open([boot], { cache: new TraceCache(cache.folder) })]);
    const plain = await plainContent([boot]);
    expect(await Promise.all(both.map(contentOf))).toEqual([plain, plain]);
    await Promise.all(both.map((analysis) => analysis.close()));
    expect(leftIn(cache)).toHaveLength(1);
    expect(cache.list()).toMatchObject([{ hasTables: true }]);
    expect(troubles).toEqual([]);
  });

  test('is deleted by its age, and with what was left half-made', async () => {
    await (await open([boot])).close();
    const entry = onlyEntry();
    const used = new Date(Date.now() - 1000_000);
    utimesSync(join(entry.folder, 'places'), used, used);
    cache.clear(Date.now() - 2000_000);
    expect(cache.list()).toHaveLength(1);
    cache.clear(Date.now() - 500_000);
    expect(cache.list()).toEqual([]);
    writeFileSync(join(cache.folder, '.making-x'), '');
    cache.clear();
    expect(leftIn(cache)).toEqual([]);
  });
});

describe('what is wrong with the cache is never an error', () => {
  const partFile = (part: string, file = 'tables.duckdb') => join(onlyEntry().folder, part, file);
  const damages: Record<string, (file: string) => void> = {
    gone: (file) => rmSync(file),
    'cut off': (file) => writeFileSync(file, readFileSync(file).subarray(0, 5000)),
    changed: (file) => {
      const bytes = readFileSync(file);
      flipBit(bytes, bytes.length >> 1);
      writeFileSync(file, bytes);
    },
  };

  test.each([
    ['rows', 'changed'],
    ['rows', 'cut off'],
    ['expensive', 'changed'],
    ['expensive', 'gone'],
  ])('%s that are %s are made again', async (part, damage) => {
    const content = await cachedContent([boot]);
    damages[damage]?.(partFile(part));
    expect(await cachedContent([boot])).toEqual(content);
    expect(cache.list()).toMatchObject([{ hasTables: true }]);
    expect(troubles).toEqual([]);
  });

  test('damage that only DuckDB sees: the trace is read as it is', async () => {
    await (await open([boot])).close();
    const file = partFile('rows');
    const reference = join(folder, 'reference');
    execFileSync('touch', ['-r', file, reference]);
    writeFileSync(file, Buffer.alloc(statSync(file).size, 7));
    execFileSync('touch', ['-r', reference, file]);
    await using analysis = await open([boot]);
    expect((await analysis.query('select count(*) > 100 from events')).rows).toEqual([[true]]);
    expect(troubles).toEqual([expect.stringContaining('could not be read')]);
    expect(cache.list()).toEqual([]);
  });

  test('damage that a query meets: it is said, and made again by the next', async () => {
    await (await open([boot])).close();
    const file = partFile('rows');
    const reference = join(folder, 'reference');
    execFileSync('touch', ['-r', file, reference]);
    const bytes = readFileSync(file);
    // Blocks have 256 KiB: the catalog, which is read at the opening, is in the first, the rows in the last.
    bytes.fill(7, bytes.length - 2 ** 18 + 1000, bytes.length - 2 ** 18 + 3000);
    writeFileSync(file, bytes);
    execFileSync('touch', ['-r', reference, file]);
    const failed = async (): Promise<void> => {
      await using analysis = await open([boot]);
      await analysis.query('select bit_xor(hash(e::varchar)) from events e');
    };
    const error = await rejectedBy(failed, 'IO');
    expect(error.message).toContain('damaged, and was deleted');
    await failed();
  });

  test.each(['places', 'report'])('%s that are damaged are not there', async (file) => {
    await using analysis = await open([boot]);
    await keepReport(await analyzeTrace(analysis), use());
    writeFileSync(join(onlyEntry().folder, file), 'not what was written');
    const report = await keptReport(boot, use());
    expect(report === undefined).toBe(file === 'report');
  });

  test('a folder that cannot be made', async () => {
    cache = new TraceCache(join(boot, 'cache'));
    expect(await cachedContent([boot])).toEqual(await plainContent([boot]));
    expect(troubles[0]).toContain(`${boot} is not kept in the cache: `);
  });

  test('a trace that is damaged is what is said, once', async () => {
    const bad = join(folder, 'bad.parquet');
    writeFileSync(bad, readFileSync(boot).subarray(0, 1000));
    await rejectedBy(() => open([bad]), 'BAD_INPUT');
    await rejectedBy(() => open([join(folder, 'none.arrow')]), 'NO_INPUT');
    expect(troubles).toEqual([]);
    expect(leftIn(cache)).toEqual([]);
  });
});

describe('an interrupt', () => {
  test.each(['at once', 'while rows are loaded'])('%s leaves nothing', async (when) => {
    const long = join(folder, 'long.arrow');
    await writeTrace(long, 60_000, 20_000, { force: true });
    const abort = new AbortController();
    const signal = abort.signal;
    const interrupted = () => Object.assign(new Error('interrupted'), { name: 'Interrupted' });
    if (when === 'at once') abort.abort(interrupted());
    const onProgress = (done: number, what: string): void => {
      if (what.startsWith('loading') && done > 0) abort.abort(interrupted());
    };
    await expect(open([long], { signal, onProgress })).rejects.toThrow('interrupted');
    expect(signal.aborted).toBe(true);
    expect(leftIn(cache)).toEqual([]);
  });
});

describe('the report', () => {
  test('is the same when it is read again, with the path of now', async () => {
    expect(await keptReport(boot, use())).toBeUndefined();
    await using analysis = await open([boot]);
    const report = await analyzeTrace(analysis);
    await keepReport(report, use());
    expect(await keptReport(boot, use())).toEqual(report);
    const copy = join(folder, 'report.parquet');
    copyFileSync(boot, copy);
    expect(await keptReport(copy, use())).toEqual({ ...report, header: { ...report.header, path: copy } });
    expect(await keptReport(boot, use({ mode: 'auto' }))).toBeUndefined();
  });
});
