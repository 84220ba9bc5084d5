/** The process that `big-trace` measures: prints the report's cost as JSON, its own peak memory included. */
import { readFileSync } from 'node:fs';
import { analyzeTrace, openAnalysis } from '../../analyze/index.ts';

const [path = '', memoryLimit = '0', tempDir = ''] = process.argv.slice(2);
const start = performance.now();
await using analysis = await openAnalysis([path], { memoryLimitBytes: Number(memoryLimit), tempDir });
const report = await analyzeTrace(analysis);
const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
const cost = {
  seconds: (performance.now() - start) / 1000,
  peakBytes: Number(peak) * 1024,
  conversions: report.phases.reduce((sum, { conversions }) => sum + Number(conversions), 0),
  notes: report.notes,
};
process.stdout.write(JSON.stringify(cost));
