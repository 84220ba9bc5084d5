import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { generateTrace } from '../../datasets/generate.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import type { Suite } from './suite.ts';

const GIB = 1024 ** 3;

/** What DuckDB may hold; the rest of the promise's 2 GiB is Node's and what DuckDB does not count. */
const MEMORY_LIMIT_BYTES = GIB;

interface Cost {
  readonly seconds: number;
  readonly peakBytes: number;
  readonly conversions: number;
  readonly notes: readonly string[];
}

export const bigTraceSuite: Suite = {
  name: 'big-trace',
  summary: 'the whole report on 100 million rows: time, and peak memory of the process',
  async run({ quick, folder, signal, onProgress }) {
    const rows = quick ? 2_000_000 : 100_000_000;
    const path = join(folder, 'big.arrow');
    try {
      onProgress?.(`generating ${rows} rows`);
      const { sizeBytes } = await generateTrace(path, { rows, seed: 1, force: true });
      onProgress?.(`analysing ${(sizeBytes / GIB).toFixed(1)} GiB`);
      // A process of its own, so that its peak is the report's and not the generator's.
      const child = join(
        PACKAGE_ROOT,
        // Built, the command line is one file, and this program stands beside it.
        import.meta.filename.endsWith('.ts') ? 'bench' : 'dist/bench',
        `suites/big-trace-child${extname(import.meta.filename)}`,
      );
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [child, path, String(MEMORY_LIMIT_BYTES), folder],
        { signal },
      );
      const cost = JSON.parse(stdout) as Cost;
      if (cost.conversions === 0) throw new Error('the report found no conversion');
      const left = cost.notes.length > 0 ? `; ${cost.notes.join('; ')}` : '';
      return {
        setup: `${rows} generated rows, ${cost.conversions} conversions over 4 GiB, memory limit of DuckDB 1 GiB, spilling to the folder${left}`,
        metrics: [
          {
            metric: 'peak memory (VmHWM)',
            value: cost.peakBytes,
            unit: 'bytes',
            better: 'lower',
            limit: { op: '<=', value: 2 * GIB },
          },
          { metric: 'time', value: cost.seconds, unit: 's', better: 'lower' },
          { metric: 'rate', value: rows / cost.seconds, unit: 'rows/s', better: 'higher' },
        ],
      };
    } finally {
      rmSync(path, { force: true });
    }
  },
};
