import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Analysis, openAnalysis } from '../../analyze/index.ts';
import { generateTrace } from '../../datasets/generate.ts';
import { medianInterval } from '../stats/interval.ts';
import { type Suite, withInterval } from './suite.ts';

/** Touches every kind of column: the dictionary, times and lengths with nulls. */
const AGGREGATE = 'select op, count(*), sum(dur_ns), max(len) from events group by op order by op';

export const readTraceSuite: Suite = {
  name: 'read-trace',
  summary: 'an aggregate over a trace against the same rows as zstd Parquet',
  async run({ quick, folder, signal, onProgress }) {
    const rows = quick ? 1_000_000 : 5_000_000;
    const rounds = quick ? 7 : 15;
    const arrow = join(folder, 'rows.arrow');
    const parquet = join(folder, 'rows.parquet');
    onProgress?.(`generating ${rows} rows`);
    await generateTrace(arrow, { rows, seed: 1 });
    try {
      await using ofArrow = await openAnalysis([arrow]);
      const metadata = JSON.stringify(ofArrow.traces[0]?.metadata);
      await ofArrow.copyTo('select * exclude (trace) from events', 'parquet', parquet, {
        metadata: { cvmtrace: metadata },
      });
      await using ofParquet = await openAnalysis([parquet]);
      const times = { arrow: [] as number[], parquet: [] as number[] };
      const answers = new Set<string>();
      for (let round = 0; round <= rounds; round++) {
        signal.throwIfAborted();
        onProgress?.(`round ${round} of ${rounds}`);
        for (const [side, analysis] of [
          ['arrow', ofArrow],
          ['parquet', ofParquet],
        ] as const) {
          const [seconds, answer] = await timeQuery(analysis);
          answers.add(answer);
          if (round > 0) times[side].push(seconds);
        }
      }
      // A fast wrong answer is no benchmark.
      if (answers.size !== 1) throw new Error('the trace and its Parquet gave different answers');
      const ratio = medianInterval(times.arrow.map((seconds, round) => seconds / (times.parquet[round] ?? NaN)));
      return {
        setup: `${rows} rows, ${rounds} rounds in turns, files in the page cache, DuckDB with all its threads: ${AGGREGATE}`,
        metrics: [
          {
            metric: 'Arrow trace',
            ...withInterval(medianInterval(times.arrow.map((seconds) => rows / seconds))),
            unit: 'rows/s',
            better: 'higher',
            limit: { op: '>=', value: 4e6 },
          },
          {
            metric: 'zstd Parquet',
            ...withInterval(medianInterval(times.parquet.map((seconds) => rows / seconds))),
            unit: 'rows/s',
            better: 'higher',
          },
          {
            metric: 'time of Arrow / Parquet',
            ...withInterval(ratio),
            unit: 'x',
            better: 'lower',
            limit: { op: '<=', value: 1.2 },
          },
        ],
      };
    } finally {
      rmSync(arrow, { force: true });
      rmSync(parquet, { force: true });
    }
  },
};

/** Seconds, and the answer as text. */
async function timeQuery(analysis: Analysis): Promise<readonly [number, string]> {
  const start = performance.now();
  const { rows } = await analysis.query(AGGREGATE);
  const seconds = (performance.now() - start) / 1000;
  return [seconds, JSON.stringify(rows, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))];
}
