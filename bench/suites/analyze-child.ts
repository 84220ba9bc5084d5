/** A process that the suites `analyze` and `big-trace` measure: opens a trace, works on it, and prints as JSON what that cost, its own peak memory included. */
import { readFileSync } from 'node:fs';
import { analyzeTrace, openAnalysis, openCached, TraceCache } from '../../analyze/index.ts';
import type { AnalyzeCost, AnalyzeTask } from './analyze-process.ts';

const task = JSON.parse(process.argv[2] ?? '{}') as AnalyzeTask;
const start = performance.now();
const options = { tempDir: task.folder };
const use = {
  mode: 'always' as const,
  signal: new AbortController().signal,
  onTrouble: (message: string): void => {
    throw new Error(message);
  },
};
await using analysis =
  task.cache === undefined
    ? await openAnalysis([task.path], options)
    : await openCached([task.path], options, { ...use, cache: new TraceCache(task.cache) });
const openSeconds = (performance.now() - start) / 1000;
const notes: string[] = [];
let rows = 0;
if (task.sql === undefined) {
  const report = await analyzeTrace(analysis);
  notes.push(...report.notes);
  rows = report.phases.reduce((sum, { conversions }) => sum + Number(conversions), 0);
} else for (const sql of task.sql) rows += (await analysis.query(sql)).rows.length;
const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
const cost: AnalyzeCost = {
  openSeconds,
  seconds: (performance.now() - start) / 1000,
  peakBytes: Number(peak) * 1024,
  rows,
  notes,
};
process.stdout.write(JSON.stringify(cost));
