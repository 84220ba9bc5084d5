import { openAnalysis } from '../../analyze/index.ts';
import { FORMATS } from '../../capture/import/formats.ts';
import { importLog, inputName, troubleText, type ImportSummary } from '../../capture/import/import-log.ts';
import type { ClockInfo } from '../../capture/trace/metadata.ts';
import { CvmtraceError } from '../../native/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCount, formatCountOf } from '../format-count.ts';
import { durationOption } from '../option-values.ts';
import { startProgress } from '../progress.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface ImportOptions {
  readonly out: string;
  readonly force: boolean;
  readonly format?: string;
  readonly events?: string;
  readonly clock?: string;
  readonly clockOffset?: bigint;
  readonly align?: string;
}

const DETAILS = `\
Reads a log once, from its first byte to its last, and writes a trace of what it knows in it. What a line does not say is null in its row, not made up.
Gzip is read as it is, zstd where Node can.

Formats, told by the first 4 KiB (never by the file's name), or named with --format:
${FORMATS.map(({ name, summary }) => `  ${name.padEnd(18)}${summary}`).join('\n')}

What is not understood never stops an import: it is counted by kind, with the first line numbers, in the trace (op import_trouble), in info and here. Only
a log of which nothing is understood is refused (65). An interrupt ends the import; what was read by then is a whole trace.

Times: each log's clock is in the trace's metadata, and ts_ns counts from the log's first time. --align OTHER.arrow makes it count from where OTHER's
does, so that "cvmtrace sql OTHER.arrow OUT" has both on one time base: the clocks must be the same, or the log's CLOCK_REALTIME and OTHER one that knows
its offset to it, as a recording does; otherwise --clock-offset must say how far OTHER's clock is ahead of the log's. What is earlier than OTHER's base keeps
its row and has no time.`;

export const importVerb = defineVerb<ImportOptions>({
  name: 'import',
  summary: 'make a trace of what another tool recorded',
  details: DETAILS,
  examples: [
    ['cvmtrace import qemu.log -o qemu.arrow', "QEMU's -trace output, with -msg timestamp=on or without"],
    ['zstd -dc boot.strace.zst | cvmtrace import - -o boot.arrow', 'from a pipe'],
    [
      'cvmtrace import iommu.ftrace --clock mono --align boot.arrow -o iommu.arrow',
      'the kernel beside a recording, on one time base (echo mono > trace_clock)',
    ],
  ],
  declare: (command) =>
    command
      .argument('<log>', 'the log, "-" for standard input')
      .requiredOption('-o, --out <out>', 'the trace to write')
      .option('--force', 'overwrite OUT', false)
      .option('--format <format>', 'what the log is, see above; default: by its content')
      .option('--events <file>', "QEMU's trace-events-all of the same build, for simpletrace files")
      .option('--clock <name>', "the log's clock where it does not say it: mono, boot, tai, realtime, local ...")
      .option(
        '--clock-offset <time>',
        "added to all of the log's times: -1.5ms, 12s, 250us",
        durationOption('--clock-offset'),
      )
      .option('--align <trace>', 'count times from the base of this trace'),
  run,
});

async function run(context: VerbContext, [log = '']: readonly string[], options: ImportOptions): Promise<number> {
  const { out, force, align } = options;
  if (out === '-') {
    throw new CvmtraceError('USAGE', 'a trace cannot be imported to standard output', { hint: 'name a file: -o OUT' });
  }
  const input = log === '-' ? context.io.stdin : log;
  const progress = startProgress(context, 100, inputName(input));
  const summary = await importLog({
    input,
    out,
    force,
    format: options.format,
    options: {
      ...(options.events !== undefined && { eventsFile: options.events }),
      ...(options.clock !== undefined && { sourceClock: options.clock }),
    },
    clockOffsetNs: options.clockOffset,
    align: align === undefined ? undefined : { path: align, clock: await clockOf(align) },
    command: ['cvmtrace', ...context.argv],
    signal: context.signal,
    onRead: (bytes, ofBytes) => {
      if (ofBytes !== null) progress.update(Math.min(100, (bytes / ofBytes) * 100));
    },
  }).finally(() => progress.stop());
  reportTroubles(context, summary);
  await context.output.result(
    { out, ...summary },
    () =>
      `${out}: ${formatCountOf(summary.imported, 'row')} of ${inputName(input)} as ${summary.format}, ${formatBytes(summary.sizeBytes)}`,
  );
  if (summary.interrupted) {
    throw new CvmtraceError('INTERRUPTED', 'interrupted', {
      hint: `what was read by then is a whole trace: ${out}`,
    });
  }
  return ExitStatus.done;
}

async function clockOf(path: string): Promise<ClockInfo> {
  await using analysis = await openAnalysis([path]);
  const [trace] = analysis.traces;
  if (!trace) throw new Error('an analysis of one trace without a trace');
  return trace.metadata.clock;
}

/** A line per kind of trouble; what was skipped on purpose is one line. */
function reportTroubles({ output }: VerbContext, { troubles, lostEvents }: ImportSummary): void {
  for (const { kind, skipped, count, lines } of troubles) {
    if (!skipped) output.warn(`${formatCount(count)} not understood: ${troubleText(kind, lines)}`);
  }
  const skipped = troubles.filter((trouble) => trouble.skipped).reduce((sum, { count }) => sum + count, 0);
  if (skipped > 0) output.note(`${formatCountOf(skipped, 'line')} of no interest skipped: see cvmtrace info`);
  if (lostEvents > 0)
    output.warn(`the log says that ${formatCountOf(lostEvents, 'event')} were lost before it was written`);
}
