import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { Option } from 'commander';
import { library, qualifiers, type Analysis } from '../../analyze/index.ts';
import { CvmtraceError } from '../../native/index.ts';
import { refuseBinaryOnTerminal, writeBinary } from '../binary-result.ts';
import { CACHE_DETAILS, declareCache, Opening, type CacheOption } from '../cache-option.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCountOf } from '../format-count.ts';
import { findLibraryItem, findLibraryQuery, formatLibrary, formatLibraryItem } from '../format-library.ts';
import { writeCsv, writeJsonDocument, writeJsonLines, writeTable, type RowSource } from '../format-rows.ts';
import { readInputText } from '../input-text.ts';
import { schemaName, toJson } from '../json.ts';
import { closeOnEnd } from '../open-traces.ts';
import { countOption } from '../option-values.ts';
import { makeOutputFile, writeResult, type Sink } from '../output-file.ts';
import { rowSource } from '../row-source.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

const FORMATS = ['table', 'csv', 'json', 'jsonl', 'arrow', 'parquet'] as const;
type Format = (typeof FORMATS)[number];

interface SqlOptions extends CacheOption {
  readonly list: boolean;
  readonly describe?: string;
  readonly query?: string;
  readonly file?: string;
  readonly format?: Format;
  readonly out?: string;
  readonly database?: string;
  readonly force: boolean;
  readonly maxRows: number;
  readonly allowFiles: boolean;
}

const DETAILS = `\
The last argument is the query, "-" reads it from standard input, -f from a file, and --query takes one of the library; all other arguments are
traces (Arrow or Parquet). The views read all of them, and their column "trace" numbers them from 0 in the order given.

The library has views over the rows (events), functions, and queries that answer questions: --list shows them, --describe NAME what one means,
its columns and units. SQL is DuckDB's (https://duckdb.org/docs/sql/introduction). It reaches the traces only, no other file and no network, unless --allow-files.

--database OUT.duckdb writes all of it, rows, views and functions, as a DuckDB file for the duckdb shell, notebooks and BI tools; a query is then optional.

${CACHE_DETAILS}

A table cuts values after 80 characters; the other formats have them whole. With json and jsonl, integers of 64 bits are strings. csv has an empty field for null and "" for an empty text.`;

export const sqlVerb = defineVerb<SqlOptions>({
  name: 'sql',
  summary: 'ask traces in SQL',
  details: DETAILS,
  examples: [
    [
      "cvmtrace sql boot.arrow 'select op, count(*), sum(dur_ns) from events group by op order by 3 desc'",
      'where the time went',
    ],
    [
      "cvmtrace sql a.arrow b.arrow 'select trace, sum(stall_ns) from conversions group by trace'",
      'two traces side by side',
    ],
    [
      'cvmtrace sql boot.arrow -f slow.sql --format parquet -o slow.parquet',
      'a query from a file, its result in a file',
    ],
    ['cvmtrace sql boot.arrow --query dma-headroom', 'a query of the library; cvmtrace sql --list shows all'],
    ['cvmtrace sql boot.arrow --database boot.duckdb && duckdb boot.duckdb', 'everything, to go on elsewhere'],
    ["echo 'from page_flips' | cvmtrace sql boot.arrow - --format csv | head", 'a query from standard input'],
  ],
  declare: (command) =>
    declareCache(command)
      .argument('[trace...]', 'traces, and last the query unless -f or --query is given')
      .option('--list', 'show what there is to ask: views, functions and queries', false)
      .option('--describe <name>', 'show what a view, function or query of the library is, its columns and an example')
      .option('--query <name>', 'run this query of the library')
      .option('-f, --file <file>', 'read the query from this file, "-" for standard input')
      .addOption(new Option('--format <format>', 'how to write the result (default: table)').choices(FORMATS))
      .option('-o, --out <out>', 'write to this file instead of standard output')
      .option('--database <out>', 'write rows, views and functions as a DuckDB file')
      .option('--force', 'overwrite OUT', false)
      .option('--max-rows <n>', 'rows that a table shows at most', countOption('--max-rows', 1), 1000)
      .option('--allow-files', 'let the query read and write any file that you can', false),
  run: runSql,
});

async function runSql(context: VerbContext, positionals: readonly string[], options: SqlOptions): Promise<number> {
  if (options.list || options.describe !== undefined) return showLibrary(context, positionals, options);
  const { traces, queryArgument, hasQuery } = splitArguments(positionals, options);
  const format = chooseFormat(context, options);
  const query = hasQuery ? (queryArgument ?? (await readInputText(context, options.file ?? '-'))) : undefined;
  const opening = new Opening(context, options);
  const analysis = await opening.open(traces, { allowFiles: options.allowFiles });
  // A result carries no heading that could say it.
  const emulated = analysis.traces.filter(({ metadata }) => qualifiers(metadata).includes('emulated'));
  if (emulated.length > 0) {
    const whose = analysis.traces.length === 1 ? 'this trace' : emulated.map(({ path }) => basename(path)).join(', ');
    context.output.note(`emulated: times of ${whose} are those of an emulator, and mean nothing but their ratios`);
  }
  try {
    await closeOnEnd(context, analysis, async () => {
      const written = await writeDatabase(analysis, options);
      opening.done();
      if (query !== undefined) {
        if (written) context.output.note(written.text);
        await writeQuery(context, analysis, query, format, options, opening);
      } else if (written) await context.output.result(written.fields, () => written.text);
    });
  } finally {
    opening.done();
  }
  return ExitStatus.done;
}

async function writeDatabase(
  analysis: Analysis,
  { database: path, force }: SqlOptions,
): Promise<{ readonly fields: object; readonly text: string } | undefined> {
  if (path === undefined) return undefined;
  await makeOutputFile(path, { force }, (temporary) => analysis.writeDatabase(temporary));
  const rows = analysis.traces.reduce((sum, trace) => sum + trace.rows, 0);
  const sizeBytes = statSync(path).size;
  return {
    fields: { path, rows, sizeBytes },
    text: `${path}: ${formatCountOf(rows, 'row')}, ${formatBytes(sizeBytes)}`,
  };
}

/** What there is to ask: needs no trace. */
async function showLibrary(
  context: VerbContext,
  positionals: readonly string[],
  { list, describe }: SqlOptions,
): Promise<number> {
  if (positionals.length > 0 || (list && describe !== undefined)) {
    throw new CvmtraceError('USAGE', `${list ? '--list' : '--describe'} stands alone`, {
      hint: 'cvmtrace sql --list, cvmtrace sql --describe conversions',
    });
  }
  const width = context.io.stdout.columns ?? 120;
  const items = describe === undefined ? library() : [findLibraryItem(describe)];
  if (context.json) {
    await context.output.write(`${toJson({ schema: schemaName('sql library'), library: items, warnings: [] }, 2)}\n`);
    return ExitStatus.done;
  }
  const text = list
    ? formatLibrary(items, context.style, width)
    : items.map((item) => formatLibraryItem(item, context.style, width)).join('');
  await context.output.write(text);
  return ExitStatus.done;
}

async function writeQuery(
  context: VerbContext,
  analysis: Analysis,
  query: string,
  format: Format,
  options: SqlOptions,
  opening: Opening,
): Promise<void> {
  if (format === 'arrow' || format === 'parquet') {
    await writeBinary(context, options.out, options, (path) => analysis.copyTo(query, format, path));
    return;
  }
  const { cut } = await writeResult(context, options.out, options, async (sink) => {
    const stream = await analysis.stream(query);
    try {
      // What is printed and the bar may be on the same terminal.
      const shown: Sink = { write: (chunk) => (opening.done(), sink.write(chunk)) };
      return await writeText(context, rowSource(stream), shown, format, options.maxRows);
    } finally {
      await stream.close();
    }
  });
  opening.done();
  if (cut)
    context.output.warn(`only the first ${options.maxRows} rows are shown: --max-rows N shows more, --format csv all`);
}

async function writeText(
  context: VerbContext,
  source: RowSource,
  sink: Sink,
  format: Exclude<Format, 'arrow' | 'parquet'>,
  maxRows: number,
): Promise<{ readonly cut: boolean }> {
  switch (format) {
    case 'table':
      return writeTable(source, sink, maxRows);
    case 'csv':
      await writeCsv(source, sink);
      break;
    case 'json':
      await writeJsonDocument(source, sink, 'sql', context.output.warnings);
      break;
    case 'jsonl':
      await writeJsonLines(source, sink);
      break;
  }
  return { cut: false };
}

/**
 * Which arguments are traces and which is the query: by place alone, never by what happens to exist. A last argument that is a trace's name is
 * a query that was forgotten.
 */
function splitArguments(
  positionals: readonly string[],
  { file, query, database }: SqlOptions,
): {
  readonly traces: readonly string[];
  readonly queryArgument: string | undefined;
  readonly hasQuery: boolean;
} {
  if (file !== undefined && query !== undefined) {
    throw new CvmtraceError('USAGE', '-f and --query contradict each other', { hint: 'give one of them' });
  }
  const queryOfLibrary = query === undefined ? undefined : findLibraryQuery(query).sql;
  if (file !== undefined || query !== undefined) {
    if (positionals.length === 0) throw noTrace();
    return { traces: positionals, queryArgument: queryOfLibrary, hasQuery: true };
  }
  const traces = positionals.slice(0, -1);
  const last = positionals.at(-1) ?? '';
  if (last !== '-' && (existsSync(last) || /\.(arrow|parquet|partial)$/.test(last))) {
    if (database !== undefined) return { traces: positionals, queryArgument: undefined, hasQuery: false };
    throw new CvmtraceError('USAGE', `no query: the last argument, ${last}, is a trace`, {
      hint: "put the query last, in quotes: cvmtrace sql TRACE 'select * from events limit 10'",
    });
  }
  if (traces.length === 0) throw noTrace();
  return { traces, queryArgument: last === '-' ? undefined : last, hasQuery: true };
}

function noTrace(): CvmtraceError {
  return new CvmtraceError('USAGE', 'no trace given', {
    hint: "cvmtrace sql TRACE 'select * from events limit 10', or --list for what there is to ask",
  });
}

function chooseFormat(context: VerbContext, options: SqlOptions): Format {
  if (context.json && options.format !== undefined && options.format !== 'json') {
    throw new CvmtraceError('USAGE', `--json and --format ${options.format} contradict each other`, {
      hint: 'give one of them',
    });
  }
  const format = options.format ?? (context.json ? 'json' : 'table');
  refuseBinaryOnTerminal(context, format, options.out);
  return format;
}
