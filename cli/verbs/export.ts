import { statSync } from 'node:fs';
import { Option } from 'commander';
import { openAnalysis, type Analysis, type OpenTrace } from '../../analyze/index.ts';
import { writePerfetto } from '../../analyze/perfetto/write-perfetto.ts';
import { METADATA_KEY } from '../../capture/trace/index.ts';
import { CvmtraceError } from '../../native/index.ts';
import { refuseBinaryOnTerminal, writeBinary } from '../binary-result.ts';
import { ExitStatus } from '../exit-status.ts';
import { exportPartitioned, type ExportedFile } from '../export-partitioned.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCount, formatCountOf } from '../format-count.ts';
import { writeCsv, writeJsonLines } from '../format-rows.ts';
import { closeOnEnd } from '../open-traces.ts';
import { writeResult } from '../output-file.ts';
import { startProgress } from '../progress.ts';
import { rowSource } from '../row-source.ts';
import { traceQuery } from '../trace-query.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

const FORMATS = ['parquet', 'csv', 'jsonl', 'arrow', 'perfetto'] as const;
type Format = (typeof FORMATS)[number];

interface ExportOptions {
  readonly to: Format;
  readonly out: string;
  readonly partition: boolean;
  readonly force: boolean;
}

export const exportVerb = defineVerb<ExportOptions>({
  name: 'export',
  summary: 'write a trace in another format',
  details: `\
parquet is the compact form for archives: compressed with zstd, with the trace's metadata, and read by every verb that reads traces. arrow is a
trace again. csv and jsonl have the rows only; in jsonl, integers of 64 bits are strings. Rows are in the order of seq.

With --partition, OUT is a folder, and each trace becomes OUT/host=H/kernel=K/NAME.parquet: a data set partitioned as Hive does it, which DuckDB,
polars, Spark and others read as one table with two more columns. H is the model of the host's CPU, K its kernel's release.

perfetto is for https://ui.perfetto.dev: a track per vCPU with its exits and, inside them, the calls made for them; the VMM's other calls by
thread; memory as counters; the marks as phases; lost events. Rows without a time are left out.`,
  examples: [
    ['cvmtrace export boot.arrow --to parquet -o boot.parquet', 'for an archive'],
    ['cvmtrace export boot.arrow --to perfetto -o boot.pftrace', 'to look at it in https://ui.perfetto.dev'],
    ['cvmtrace export run-*.arrow --to parquet --partition -o runs', 'many traces as one table for other tools'],
    ['cvmtrace export boot.arrow --to csv -o - | head', 'a look at the rows'],
  ],
  declare: (command) =>
    command
      .argument('<trace...>', 'trace, Arrow or Parquet; several with --partition')
      .addOption(new Option('--to <format>', 'format to write').choices(FORMATS).makeOptionMandatory())
      .requiredOption('-o, --out <out>', 'file to write, "-" for standard output; with --partition a folder')
      .option('--partition', 'parquet: write into OUT/host=H/kernel=K/', false)
      .option('--force', 'overwrite OUT, with --partition the files in it', false),
  run: async (context, paths, options) => {
    if (options.partition) return runPartitioned(context, paths, options);
    const [path = '', second] = paths;
    if (second !== undefined) {
      throw new CvmtraceError('USAGE', `one trace becomes one file: ${path} or ${second}`, {
        hint: 'export them one by one, or to Parquet with --partition',
      });
    }
    refuseBinaryOnTerminal(context, options.to, options.out);
    const analysis = await openAnalysis([path]);
    return closeOnEnd(context, analysis, () => exportOne(context, analysis, options));
  },
});

async function runPartitioned(
  context: VerbContext,
  paths: readonly string[],
  { to, out, force }: ExportOptions,
): Promise<number> {
  if (to !== 'parquet' || out === '-') {
    throw new CvmtraceError('USAGE', '--partition writes Parquet files into a folder', {
      hint: 'cvmtrace export TRACE... --to parquet --partition -o DIR',
    });
  }
  const analysis = await openAnalysis(paths);
  const files = await closeOnEnd(context, analysis, () => exportPartitioned(context, analysis, out, { force }));
  await context.output.result({ path: out, format: to, files }, () => files.map(described).join('\n'));
  return ExitStatus.done;
}

async function exportOne(context: VerbContext, analysis: Analysis, options: ExportOptions): Promise<number> {
  const [trace] = analysis.traces;
  if (!trace) throw new Error('an analysis of one trace without a trace');
  if (options.to === 'perfetto') return exportPerfetto(context, analysis, trace, options);
  await exportRows(context, analysis, trace, options.to, options);
  if (options.out === '-') return ExitStatus.done;
  const result = {
    path: options.out,
    format: options.to,
    rows: trace.rows,
    sizeBytes: statSync(options.out).size,
  };
  await context.output.result(result, () => described(result));
  return ExitStatus.done;
}

async function exportRows(
  context: VerbContext,
  analysis: Analysis,
  trace: OpenTrace,
  to: Exclude<Format, 'perfetto'>,
  options: ExportOptions,
): Promise<void> {
  const query = await traceQuery(analysis, 0);
  if (options.out === '-' && (to === 'csv' || to === 'jsonl')) {
    // Text goes out as it comes. To a file DuckDB writes the same bytes, several times faster.
    const stream = await analysis.stream(query);
    try {
      await (to === 'csv' ? writeCsv : writeJsonLines)(rowSource(stream), context.output);
    } finally {
      await stream.close();
    }
    return;
  }
  const metadata = { [METADATA_KEY]: JSON.stringify(trace.metadata) };
  await writeBinary(context, options.out, options, (path) => analysis.copyTo(query, to, path, { metadata }));
}

async function exportPerfetto(
  context: VerbContext,
  analysis: Analysis,
  trace: OpenTrace,
  options: ExportOptions,
): Promise<number> {
  const progress = startProgress(context, trace.rows, 'rows');
  const summary = await writeResult(context, options.out, options, (sink) =>
    writePerfetto(analysis, trace.metadata, (piece) => sink.write(piece), {
      onProgress: (rows) => progress.update(rows),
    }),
  ).finally(() => progress.stop());
  if (summary.rowsWithoutTime > 0) {
    context.output.warn(`${formatCountOf(summary.rowsWithoutTime, 'row')} without a time left out`);
  }
  if (options.out === '-') return ExitStatus.done;
  const sizeBytes = statSync(options.out).size;
  await context.output.result(
    { path: options.out, format: options.to, rows: trace.rows, sizeBytes, ...summary },
    () =>
      `${options.out}: ${formatCountOf(summary.slices, 'slice')}, ${formatCountOf(summary.instants, 'instant')}, ` +
      `${formatCount(summary.counterValues)} values of counters, ${formatBytes(sizeBytes)}: for https://ui.perfetto.dev`,
  );
  return ExitStatus.done;
}

function described({ path, rows, sizeBytes }: Pick<ExportedFile, 'path' | 'rows' | 'sizeBytes'>): string {
  return `${path}: ${formatCountOf(rows, 'row')}, ${formatBytes(sizeBytes)}`;
}
