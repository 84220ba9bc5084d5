import { csvFormat } from './columns/csv.ts';
import { jsonlFormat } from './columns/jsonl.ts';
import type { ImportFormat } from './format.ts';
import { ftraceFormat, traceCmdFormat } from './ftrace/ftrace.ts';
import { perfScriptFormat } from './perf/perf-script.ts';
import { perfTraceFormat } from './perf/perf-trace.ts';
import { qemuLogFormat } from './qemu/qemu-log.ts';
import { simpletraceFormat } from './qemu/simpletrace.ts';

/** All formats that can be imported. */
export const FORMATS: readonly ImportFormat[] = [qemuLogFormat, simpletraceFormat, csvFormat, jsonlFormat];
