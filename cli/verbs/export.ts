import { statSync } from 'node:fs';
import { Option } from 'commander';
import { openAnalysis, type Analysis, type OpenTrace } from '../../analyze/index.ts';
import { METADATA_KEY } from '../../capture/trace/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCountOf } from '../format-count.ts';
import { writeCsv, writeJsonLines } from '../format-rows.ts';
import { closeOnEnd } from '../open-traces.ts';
import { rowSource } from '../row-source.ts';
import { defineVerb, type VerbContext } from '../verb.ts';
import { refuseBinaryOnTerminal, writeBinary } from '../binary-result.ts';

const FORMATS = ['parquet', 'csv', 'jsonl', 'arrow'] as const;
type Format = (typeof FORMATS)[number];

interface ExportOptions {
  readonly to: Format;
  readonly out: string;
  readonly force: boolean;
}

export const exportVerb = defineVerb<ExportOptions>({
  name: 'export',
  summary: 'write a trace in another format',
  details: `\
parquet is the compact form for archives: compressed with zstd, with the trace's metadata, and read by every verb that reads traces. arrow is a
trace again. csv and jsonl have the rows only; in jsonl, integers of 64 bits are strings.`,
  examples: [
    ['cvmtrace export boot.arrow --to parquet -o boot.parquet', 'for an archive'],
    ['cvmtrace export boot.arrow --to csv -o - | head', 'a look at the rows'],
  ],
  declare: (command) =>
    command
      .argument('<trace>', 'trace, Arrow or Parquet')
      .addOption(new Option('--to <format>', 'format to write').choices(FORMATS).makeOptionMandatory())
      .requiredOption('-o, --out <out>', 'file to write, "-" for standard output')
      .option('--force', 'overwrite OUT', false),
  run: async (context, [path = ''], options) => {
    refuseBinaryOnTerminal(context, options.to, options.out);
    const analysis = await openAnalysis([path]);
    const trace = await closeOnEnd(context, analysis, () => exportTrace(context, analysis, options));
    if (options.out === '-') return ExitStatus.done;
    const result = { path: options.out, format: options.to, rows: trace.rows, sizeBytes: statSync(options.out).size };
    await context.output.result(
      result,
      () => `${options.out}: ${formatCountOf(result.rows, 'row')}, ${formatBytes(result.sizeBytes)}`,
    );
    return ExitStatus.done;
  },
});

async function exportTrace(context: VerbContext, analysis: Analysis, options: ExportOptions): Promise<OpenTrace> {
  const [trace] = analysis.traces;
  if (!trace) throw new Error('an analysis of one trace without a trace');
  // lag_ns is there only in paced runs, as in the file that it came from.
  const [[paced] = []] = (await analysis.query('select count(lag_ns) > 0 from events')).rows;
  const query = `select * exclude (trace${paced === true ? '' : ', lag_ns'}) from events`;
  const { to, out } = options;
  if (out === '-' && (to === 'csv' || to === 'jsonl')) {
    // Text goes out as it comes. To a file DuckDB writes the same bytes, several times faster.
    const stream = await analysis.stream(query);
    try {
      await (to === 'csv' ? writeCsv : writeJsonLines)(rowSource(stream), context.output);
    } finally {
      await stream.close();
    }
  } else {
    const metadata = { [METADATA_KEY]: JSON.stringify(trace.metadata) };
    await writeBinary(context, out, options, (path) => analysis.copyTo(query, to, path, { metadata }));
  }
  return trace;
}
