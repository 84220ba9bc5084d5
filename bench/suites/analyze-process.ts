import { execFile } from 'node:child_process';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { PACKAGE_ROOT } from '../../native/index.ts';

/** What a process of its own does with a trace. */
export interface AnalyzeTask {
  readonly path: string;
  /** For spilled data. */
  readonly folder: string;
  /** Cache folder; without it the trace is read as it is. */
  readonly cache?: string;
  /** Queries; without them it makes the report. */
  readonly sql?: readonly string[];
}

export interface AnalyzeCost {
  /** Until SQL could be asked: with a cache, the loading into it. */
  readonly openSeconds: number;
  /** In all, without the start of the process. */
  readonly seconds: number;
  /** VmHWM. */
  readonly peakBytes: number;
  /** Of the queries' results; of the report, its conversions. */
  readonly rows: number;
  readonly notes: readonly string[];
}

/** Runs a task in a process of its own, so that its peak is its own. */
export async function runAnalyze(task: AnalyzeTask, signal: AbortSignal): Promise<AnalyzeCost> {
  const child = join(
    PACKAGE_ROOT,
    // Built, the command line is one file, and this program stands beside it.
    import.meta.filename.endsWith('.ts') ? 'bench' : 'dist/bench',
    `suites/analyze-child${extname(import.meta.filename)}`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [child, JSON.stringify(task)], { signal });
  const cost = JSON.parse(stdout) as AnalyzeCost;
  // A fast empty answer is no benchmark.
  if (cost.rows === 0) throw new Error(`nothing was found in ${task.path}`);
  return cost;
}
