import { headLines } from '../head-lines.ts';
import type { LineFormat } from '../format.ts';
import { TextParser } from '../ftrace/text-parser.ts';

/** "  CPU 0/KVM  1200/1234  [001] 22829.421021:       kvm:kvm_exit: ...": the event has its subsystem's name in front. */
const SAMPLE = /^ *\S.* -?\d+(\/-?\d+)? +(\[\d{3,}\] +)?([.\w#]{4,6} +)?\d+\.(\d{6}|\d{9}): +\w+:\w+: /;

/** What `perf script` prints of tracepoints and probes: with -F, at least tid, time, event and trace. */
export const perfScriptFormat: LineFormat = {
  name: 'perf-script',
  summary: 'what perf script prints of tracepoints',
  madeBy:
    "perf record -a -k CLOCK_MONOTONIC -e 'kvm:*,iommu:*' -- COMMAND; perf script -F comm,pid,tid,cpu,time,event,trace --ns",
  kind: 'lines',
  detect(head) {
    const lines = headLines(head);
    if (lines.some((line) => SAMPLE.test(line))) return 85;
    // The header can be longer than what is looked at.
    return lines[0] === '# ========' && lines[1]?.startsWith('# captured on') ? 70 : 0;
  },
  // perf's own clock is near that of ftrace; `perf record -k mono` says so in the header that `perf script --header` prints.
  open: (context) => new TextParser(context, 'perf'),
};
