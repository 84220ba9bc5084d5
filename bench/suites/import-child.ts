/** One import in a process of its own, so that its time and peak memory are its own: argv is the log, its format and the trace. Prints JSON. */
import { readFileSync } from 'node:fs';
import { importLog } from '../../capture/import/import-log.ts';

const [input = '', format = '', out = ''] = process.argv.slice(2);
const start = performance.now();
const startUsage = process.cpuUsage();
const { imported, troubles } = await importLog({
  input,
  format,
  out,
  options: {},
  force: true,
  command: [],
  signal: new AbortController().signal,
});
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(startUsage);
const peakKiB = Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
process.stdout.write(
  JSON.stringify({
    seconds,
    cpuSeconds: (user + system) / 1e6,
    peakBytes: peakKiB * 1024,
    rows: imported,
    notUnderstood: troubles.filter(({ skipped }) => !skipped).reduce((sum, { count }) => sum + count, 0),
  }),
);
