import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { openAnalysis } from '../../analyze/index.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { medianInterval, type Interval } from '../stats/interval.ts';
import { GENERATED_LOGS, generateLog } from './import-logs.ts';
import { type Metric, type Suite, type SuiteOptions, withInterval } from './suite.ts';

const run = promisify(execFile);

interface Cost {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
  readonly rows: number;
  readonly notUnderstood: number;
}

export const importSuite: Suite = {
  name: 'import',
  summary: 'logs of QEMU, strace and ftrace imported, beside wc -l and DuckDB reading the same lines',
  async run(options) {
    const bytes = options.quick ? 60e6 : 200e6;
    const rounds = options.quick ? 3 : 7;
    const metrics: Metric[] = [];
    for (const log of GENERATED_LOGS) {
      const path = join(options.folder, `${log.format}.log`);
      options.onProgress?.(`${log.format}: generating`);
      const sizeBytes = generateLog(path, log, bytes);
      try {
        metrics.push(...(await measure(log.format, path, sizeBytes, rounds, options)));
      } finally {
        rmSync(path, { force: true });
      }
    }
    return {
      setup:
        `generated logs of ${bytes / 1e6} MB, ${rounds} rounds in turns, files in the page cache; each import in a process of its own, from opening the log to the ` +
        'synced trace; DuckDB reads lines as one column (read_csv, 1 thread) and sums their lengths',
      metrics,
    };
  },
};

async function measure(
  format: string,
  path: string,
  sizeBytes: number,
  rounds: number,
  { folder, signal, onProgress }: SuiteOptions,
): Promise<Metric[]> {
  const out = join(folder, 'import.arrow');
  const imports: Cost[] = [];
  const wc: number[] = [];
  const duckdb: number[] = [];
  await using analysis = await openAnalysis([], { allowFiles: true, threads: 1, tempDir: folder });
  for (let round = 0; round <= rounds; round++) {
    signal.throwIfAborted();
    onProgress?.(`${format}: round ${round} of ${rounds}`);
    const cost = await importOnce(path, format, out, signal);
    const wcSeconds = await timed(() => run('wc', ['-l', path], { signal }));
    const duckdbSeconds = await timed(() => analysis.query(linesQuery(path)));
    // The first fills the page cache.
    if (round === 0) continue;
    imports.push(cost);
    wc.push(wcSeconds);
    duckdb.push(duckdbSeconds);
  }
  rmSync(out, { force: true });
  const rate = (seconds: readonly number[]): Interval => medianInterval(seconds.map((s) => sizeBytes / 1e6 / s));
  const slower = (than: readonly number[]): Interval =>
    medianInterval(imports.map(({ seconds }, round) => seconds / (than[round] ?? NaN)));
  const side = (name: string, interval: Interval, limit?: Metric['limit']): Metric => ({
    metric: `${format}: ${name}`,
    ...withInterval(interval),
    unit: 'MB/s',
    better: 'higher',
    ...(limit && { limit }),
  });
  return [
    side('import, by its time', rate(imports.map(({ seconds }) => seconds))),
    // What one core does: all of the process's threads are in it, what else runs on the machine is not.
    side('import, by CPU time', rate(imports.map(({ cpuSeconds }) => cpuSeconds)), {
      op: '>=',
      value: 100,
    }),
    side('wc -l', rate(wc)),
    side('DuckDB read_csv', rate(duckdb)),
    { metric: `${format}: time of import / wc -l`, ...withInterval(slower(wc)), unit: 'x', better: 'lower' },
    { metric: `${format}: time of import / read_csv`, ...withInterval(slower(duckdb)), unit: 'x', better: 'lower' },
    {
      metric: `${format}: peak memory of the import`,
      value: Math.max(...imports.map(({ peakBytes }) => peakBytes)),
      unit: 'bytes',
      better: 'lower',
    },
  ];
}

async function importOnce(path: string, format: string, out: string, signal: AbortSignal): Promise<Cost> {
  const child = join(
    PACKAGE_ROOT,
    // Built, the command line is one file, and this program stands beside it.
    import.meta.filename.endsWith('.ts') ? 'bench' : 'dist/bench',
    `suites/import-child${extname(import.meta.filename)}`,
  );
  const { stdout } = await run(process.execPath, [child, path, format, out], { signal });
  const cost = JSON.parse(stdout) as Cost;
  // What is skipped or not understood costs less than a row.
  if (cost.rows === 0 || cost.notUnderstood > 0) throw new Error(`${format}: ${stdout}`);
  return cost;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function linesQuery(path: string): string {
  return `select count(*), sum(length(line)) from read_csv('${path.replaceAll("'", "''")}',
    columns = {'line': 'varchar'}, delim = '\\x01', quote = '', escape = '', header = false, auto_detect = false)`;
}
