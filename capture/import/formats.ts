import { csvFormat } from './columns/csv.ts';
import { jsonlFormat } from './columns/jsonl.ts';
import { dmesgFormat } from './dmesg/dmesg.ts';
import type { ImportFormat } from './format.ts';
import { ftraceFormat, traceCmdFormat } from './ftrace/ftrace.ts';
import { perfScriptFormat } from './perf/perf-script.ts';
import { perfTraceFormat } from './perf/perf-trace.ts';
import { qemuLogFormat } from './qemu/qemu-log.ts';
import { simpletraceFormat } from './qemu/simpletrace.ts';
import { straceFormat } from './strace/strace.ts';
import { vfioUserFormat } from './vfio-user/vfio-user.ts';

/** All formats that can be imported. */
export const FORMATS: readonly ImportFormat[] = [
  qemuLogFormat,
  simpletraceFormat,
  csvFormat,
  jsonlFormat,
  ftraceFormat,
  traceCmdFormat,
  perfScriptFormat,
  perfTraceFormat,
  straceFormat,
  vfioUserFormat,
  dmesgFormat,
];
