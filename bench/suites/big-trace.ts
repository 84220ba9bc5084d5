import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { generateTrace } from '../../datasets/generate.ts';
import { runAnalyze, type AnalyzeCost } from './analyze-process.ts';
import type { Metric, Suite } from './suite.ts';

const GIB = 1024 ** 3;

/** Reads every row, and sorts and joins the conversions. */
const QUERIES = [
  'select op, count(*), sum(dur_ns), max(len) from events group by op',
  'select phase, name, count(*), sum(stall_ns), quantile_cont(stall_ns, 0.99) from conversions c join phases p on c.seq >= p.from_seq and c.seq < p.past_seq group by all',
];

export const bigTraceSuite: Suite = {
  name: 'big-trace',
  summary: 'report and SQL on 100 million rows, with and without the cache: time, and peak memory of the process',
  async run({ quick, folder, signal, onProgress }) {
    const rows = quick ? 2_000_000 : 100_000_000;
    const path = join(folder, 'big.arrow');
    const cache = join(folder, 'big-cache');
    try {
      onProgress?.(`generating ${rows} rows`);
      const { sizeBytes } = await generateTrace(path, { rows, seed: 1, force: true });
      const metrics: Metric[] = [];
      const measure = async (what: string, task: { readonly cache?: string; readonly sql?: readonly string[] }) => {
        onProgress?.(`${what}: ${(sizeBytes / GIB).toFixed(1)} GiB`);
        const cost = await runAnalyze({ path, folder, ...task }, signal);
        metrics.push(...metricsOf(what, cost, rows));
        return cost;
      };
      const report = await measure('analyze', {});
      await measure('sql', { sql: QUERIES });
      const loaded = await measure('sql into the cache', { sql: QUERIES, cache });
      metrics.push({ metric: 'loading rows', value: rows / loaded.openSeconds, unit: 'rows/s', better: 'higher' });
      await measure('sql from the cache', { sql: QUERIES, cache });
      const left = report.notes.length > 0 ? `; ${report.notes.join('; ')}` : '';
      return {
        setup: `${rows} generated rows, ${report.rows} conversions over 4 GiB, DuckDB's memory as by default, spilling to the folder${left}`,
        metrics,
      };
    } finally {
      rmSync(path, { force: true });
      rmSync(cache, { recursive: true, force: true });
    }
  },
};

function metricsOf(what: string, { seconds, peakBytes }: AnalyzeCost, rows: number): Metric[] {
  return [
    {
      metric: `${what}: peak memory (VmHWM)`,
      value: peakBytes,
      unit: 'bytes',
      better: 'lower',
      limit: { op: '<=', value: 2 * GIB },
    },
    { metric: `${what}: time`, value: seconds, unit: 's', better: 'lower' },
    { metric: `${what}: rate`, value: rows / seconds, unit: 'rows/s', better: 'higher' },
  ];
}
