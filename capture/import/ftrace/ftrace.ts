import { headLines } from '../head-lines.ts';
import type { LineFormat } from '../format.ts';
import { TextParser } from './text-parser.ts';

/** "  CPU 0/KVM-1234    (   1200) [001] d..1.  22829.421021: kvm_exit: ..."; without a point where the clock counts something else. */
const FTRACE = /^ *\S.*-\d+ +(\([ \d-]+\) )?\[\d{3,}\] +([.\w#]{4,6} +)?\d+(\.\d{6})?: \w/;
const FTRACE_FLAGS = /\[\d{3,}\] [.\w#]{4,6} +\d+(\.\d{6})?: /;
/** The event's name is padded, and its text begins in the same column. */
const TRACE_CMD = /^ *\S.*-\d+ +\[\d{3,}\] +([.\w#]{4,6} +)?\d+(\.\d{6}|\.\d{9})?: +(\(\+\d+\) +)?\w+: {2,}/;

/** Events alone, as a mail quotes them. */
const BARE = /^\s*(?:map|unmap|io_page_fault): IOMMU:|^\s*kvm_vm_set_mem_attributes: 0x/;

/** `trace` and `trace_pipe` of tracefs: Documentation/trace/ftrace.rst, "Output format". */
export const ftraceFormat: LineFormat = {
  name: 'ftrace',
  summary: "the kernel's trace or trace_pipe (tracefs)",
  madeBy: 'echo mono > trace_clock, events of kvm, iommu, syscalls; cat trace > LOG',
  kind: 'lines',
  detect(head) {
    const lines = headLines(head);
    if (lines[0]?.startsWith('# tracer:')) return 95;
    if (lines.some((line) => /^CPU:\d+ \[LOST \d+ EVENTS\]$/.test(line))) return 80;
    const matching = lines.filter((line) => FTRACE.test(line));
    if (matching.length === 0) return lines.some((line) => BARE.test(line)) ? 55 : 0;
    return matching.some((line) => FTRACE_FLAGS.test(line)) ? 80 : 70;
  },
  open: (context) => new TextParser(context, 'ftrace local'),
};

/** What `trace-cmd report` prints, also with -t, -R and --ts-diff. */
export const traceCmdFormat: LineFormat = {
  name: 'trace-cmd',
  summary: 'what trace-cmd report prints',
  madeBy: 'trace-cmd record -C mono -e kvm -e iommu COMMAND; trace-cmd report > LOG',
  kind: 'lines',
  detect(head) {
    const lines = headLines(head);
    if (lines.some((line) => /^cpus=\d+$/.test(line))) return 90;
    return lines.some((line) => TRACE_CMD.test(line)) ? 75 : 0;
  },
  open: (context) => new TextParser(context, 'ftrace local'),
};
