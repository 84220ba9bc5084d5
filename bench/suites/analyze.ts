import { execFile } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openAnalysis, openCached, TraceCache, viewTopics, type Analysis } from '../../analyze/index.ts';
import { generateTrace } from '../../datasets/generate.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { medianInterval } from '../stats/interval.ts';
import { runAnalyze } from './analyze-process.ts';
import { type Metric, type Suite, type SuiteOptions, withInterval } from './suite.ts';

const run = promisify(execFile);

/** What the report is made of, as plain SQL: the same sums by the same views. The first makes what the last two read. */
const AGGREGATES = [
  'create table _c as from _conversions; select count(*) from _c',
  'from phases',
  'from op_latency',
  'from loss',
  'from vcpu_exits',
  'select vcpu, count(*), sum(stall_ns), sum(attribute_ns), sum(discard_ns), sum(allocate_ns), sum(dma_ns) from _c group by all',
  'select gpa, len, count(*), sum(stall_ns) as stall from _c group by all order by stall desc limit 10',
];

export const analyzeSuite: Suite = {
  name: 'analyze',
  summary:
    'the report beside plain SQL over Parquet; by size; view by view; loading into the cache, and answers from it',
  async run(options) {
    const scale = options.quick ? 0.1 : 1;
    const metrics = [
      ...(await besideParquet(Math.round(5e6 * scale), options)),
      ...(await bySize(
        [1e6, 3e6, 10e6].map((rows) => Math.round(rows * scale)),
        options,
      )),
    ];
    return {
      setup:
        `generated traces of ${scale} times 5, 1, 3 and 10 million rows, files in the page cache; each report in a process of its own, without the cache but where ` +
        'it is named; plain SQL: the same sums by the same views over zstd Parquet, one process of DuckDB',
      metrics,
    };
  },
};

/** The report against SQL over Parquet, loading, and each view's time on what was loaded. */
async function besideParquet(rows: number, options: SuiteOptions): Promise<Metric[]> {
  const { folder, quick, signal, onProgress } = options;
  const path = join(folder, 'analyze.arrow');
  const parquet = join(folder, 'analyze.parquet');
  const cache = join(folder, 'analyze-cache');
  const rounds = quick ? 3 : 5;
  try {
    onProgress?.(`generating ${rows} rows`);
    await generateTrace(path, { rows, seed: 1, force: true });
    await writeParquet(path, parquet, folder);
    const reports: number[] = [];
    const plain: number[] = [];
    const loads: number[] = [];
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      onProgress?.(`round ${round + 1} of ${rounds}`);
      reports.push((await runAnalyze({ path, folder }, signal)).seconds);
      plain.push((await runAnalyze({ path: parquet, folder, sql: AGGREGATES }, signal)).seconds);
      rmSync(cache, { recursive: true, force: true });
      loads.push((await runAnalyze({ path, folder, cache, sql: ['select 1'] }, signal)).openSeconds);
    }
    const ratio = medianInterval(reports.map((seconds, round) => seconds / (plain[round] ?? NaN)));
    return [
      { metric: 'report', ...withInterval(medianInterval(reports)), unit: 's', better: 'lower' },
      { metric: 'plain SQL over Parquet', ...withInterval(medianInterval(plain)), unit: 's', better: 'lower' },
      { metric: 'time of report / plain SQL', ...withInterval(ratio), unit: 'x', better: 'lower' },
      {
        metric: 'loading into the cache',
        ...withInterval(medianInterval(loads.map((seconds) => rows / seconds))),
        unit: 'rows/s',
        better: 'higher',
      },
      ...(await viewByView(path, cache, options)),
    ];
  } finally {
    for (const left of [path, parquet, cache]) rmSync(left, { recursive: true, force: true });
  }
}

async function writeParquet(path: string, parquet: string, tempDir: string): Promise<void> {
  await using analysis = await openAnalysis([path], { tempDir });
  const metadata = { cvmtrace: JSON.stringify(analysis.traces[0]?.metadata) };
  await analysis.copyTo('select * exclude (trace) from events', 'parquet', parquet, { metadata });
}

/** Seconds of all rows of each view, over the rows in the cache; then again where the expensive tables are there too. */
async function viewByView(
  path: string,
  cache: string,
  { folder, signal, onProgress }: SuiteOptions,
): Promise<Metric[]> {
  const metrics: Metric[] = [];
  const use = { cache: new TraceCache(cache), mode: 'always' as const, signal };
  const measure = async (analysis: Analysis, what: string): Promise<void> => {
    for (const view of viewTopics()) {
      signal.throwIfAborted();
      onProgress?.(`${view}, ${what}`);
      const start = performance.now();
      await analysis.query(`create temp table _all as from ${view}`);
      metrics.push({
        metric: `${view}, ${what}`,
        value: (performance.now() - start) / 1000,
        unit: 's',
        better: 'lower',
      });
    }
  };
  await (await openCached([path], { tempDir: folder }, use)).close();
  const entry = await use.cache.find(path, signal);
  if (!entry) throw new Error('the trace is not in the cache');
  await using rowsOnly = await openAnalysis([path], { tempDir: folder, kept: new Map([[path, entry.kept]]) });
  const start = performance.now();
  await rowsOnly.query('select count(*) from hazards');
  metrics.push({
    metric: 'the walk, into its tables',
    value: (performance.now() - start) / 1000,
    unit: 's',
    better: 'lower',
  });
  await measure(rowsOnly, 'from rows');
  await using loaded = await openCached([path], { tempDir: folder }, use);
  await loaded.keepExpensive();
  await loaded.close();
  await using kept = await openCached([path], { tempDir: folder }, use);
  await measure(kept, 'from the cache');
  return metrics;
}

/** Time and memory per million rows, and the second report of the largest. */
async function bySize(sizes: readonly number[], options: SuiteOptions): Promise<Metric[]> {
  const { folder, signal, onProgress } = options;
  const metrics: Metric[] = [];
  const perMillion: number[] = [];
  for (const rows of sizes) {
    const path = join(folder, `analyze-${rows}.arrow`);
    try {
      onProgress?.(`generating ${rows} rows`);
      await generateTrace(path, { rows, seed: 1, force: true });
      onProgress?.(`report on ${rows} rows`);
      const { seconds, peakBytes } = await runAnalyze({ path, folder }, signal);
      const millions = rows / 1e6;
      perMillion.push(seconds / millions);
      metrics.push(
        { metric: `${millions} M rows: time per million`, value: seconds / millions, unit: 's', better: 'lower' },
        { metric: `${millions} M rows: peak memory`, value: peakBytes, unit: 'bytes', better: 'lower' },
      );
      if (rows === sizes.at(-1)) metrics.push(...(await secondReport(path, millions, options)));
    } finally {
      rmSync(path, { force: true });
    }
  }
  const growth = (perMillion.at(-1) ?? NaN) / (perMillion[0] ?? NaN);
  metrics.push({ metric: 'time per million, largest / smallest', value: growth, unit: 'x', better: 'lower' });
  return metrics;
}

/** The command line's own, its start included. */
async function secondReport(
  path: string,
  millions: number,
  { folder, signal, onProgress }: SuiteOptions,
): Promise<Metric[]> {
  const home = join(folder, 'analyze-home');
  mkdirSync(home);
  const report = async (): Promise<number> => {
    const start = performance.now();
    await run(process.execPath, [join(PACKAGE_ROOT, 'dist/cli/main.js'), 'analyze', '--cache', '--json', path], {
      signal,
      env: { ...process.env, XDG_CACHE_HOME: home },
      maxBuffer: 1 << 28,
    });
    return (performance.now() - start) / 1000;
  };
  try {
    onProgress?.('the first report, into the cache');
    const first = await report();
    const later: number[] = [];
    for (let round = 0; round < 7; round++) later.push(await report());
    return [
      { metric: `first analyze of ${millions} M rows, into the cache`, value: first, unit: 's', better: 'lower' },
      {
        metric: `second analyze of ${millions} M rows, from the cache`,
        ...withInterval(medianInterval(later)),
        unit: 's',
        better: 'lower',
        limit: { op: '<=', value: 1 },
      },
    ];
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
