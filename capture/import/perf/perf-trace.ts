import { headLines } from '../head-lines.ts';
import type { LineFormat } from '../format.ts';
import { PerfTraceParser } from './perf-trace-parser.ts';

/** "   0.000 ( 0.990 ms): g2/3172 fallocate(fd: 5, mode: 1, len: 8388608)   = 0", "?" for a time before the first. */
const LINE = /^ *(\d+\.\d{3}|\?) \( *(\d+\.\d{3} ms)? *\): /;

/** What `perf trace` prints, also with -T; its own text for events that are no system calls is not used. */
export const perfTraceFormat: LineFormat = {
  name: 'perf-trace',
  summary: 'what perf trace prints of system calls',
  madeBy: 'perf trace -o LOG -- COMMAND',
  kind: 'lines',
  detect: (head) => (headLines(head).some((line) => LINE.test(line)) ? 90 : 0),
  open: (context) => new PerfTraceParser(context),
};
