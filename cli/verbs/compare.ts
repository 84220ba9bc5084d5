import { Option } from 'commander';
import { openAnalysis } from '../../analyze/index.ts';
import { compareTraces } from '../../bench/compare/comparison.ts';
import { GROUPINGS, type Grouping } from '../../bench/compare/groups.ts';
import { CvmtraceError } from '../../native/index.ts';
import { compareRows } from '../compare-rows.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatCountOf } from '../format-count.ts';
import { formatCompare } from '../format-compare.ts';
import { writeCsv } from '../format-rows.ts';
import { closeOnEnd } from '../open-traces.ts';
import { percentOption } from '../percent-option.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface CompareVerbOptions {
  readonly by: Grouping;
  readonly effect: number;
  readonly threshold?: number;
  readonly format?: 'table' | 'csv' | 'markdown';
}

const DETAILS = `\
Says first in what the two sides differ as they were made: host, kernel, its configuration, guest, command, strategy, workload. Then, aligned by phase
and operation, how often and how long: counts, medians, 99th percentiles and totals of A and of B, and the ratio B / A. Phases are aligned by their
name, the second of a name with the second.

With one trace per side the calls in them are compared. They are no independent runs: what is found tells these two traces apart. With several, separated
by --, the run is the unit, and the differences between runs of the same side are the noise; four per side are the least with which anything
can be called, five or more are better.

A difference is called slower or faster if its p (Mann-Whitney U, two-sided, adjusted for the number of tests after Benjamini and Hochberg) is at most 0.05,
the ratio differs by --effect or more and by more than the noise, and its interval (bootstrap, 95 %) is all on one side of 1. Everything else is \`~\`.

With --threshold, exit status 1 if B is slower than A by more than that anywhere.`;

export const compareVerb = defineVerb<CompareVerbOptions>({
  name: 'compare',
  summary: 'hold two traces, or two groups of runs, against each other',
  details: DETAILS,
  examples: [
    ['cvmtrace compare before.arrow after.arrow', 'two traces'],
    [
      'cvmtrace compare a1.arrow a2.arrow a3.arrow a4.arrow -- b1.arrow b2.arrow b3.arrow b4.arrow',
      'four runs of each',
    ],
    [
      'cvmtrace compare --threshold 10% a?.arrow -- b?.arrow',
      'for CI: exit status 1 if something is slower by more than 10 %',
    ],
    [
      'cvmtrace compare --by phase,op,size --format csv before.arrow after.arrow > diff.csv',
      'finer, for a spreadsheet',
    ],
  ],
  declare: (command) =>
    command
      .argument('<trace...>', 'two traces; or those of A, --, and those of B')
      .addOption(new Option('--by <groups>', 'what is compared').choices(GROUPINGS).default('phase,op'))
      .option('--effect <percent>', 'a smaller difference is none', percentOption('--effect'), 0.05)
      .option('--threshold <percent>', 'exit status 1 if B is slower by more than this', percentOption('--threshold'))
      .addOption(
        new Option('--format <format>', 'how to write the result (default: table)').choices([
          'table',
          'csv',
          'markdown',
        ]),
      ),
  run: runCompare,
});

async function runCompare(
  context: VerbContext,
  positionals: readonly string[],
  options: CompareVerbOptions,
): Promise<number> {
  if (context.json && options.format !== undefined) {
    throw new CvmtraceError('USAGE', `--json and --format ${options.format} contradict each other`, {
      hint: 'give one of them',
    });
  }
  const { a, b } = splitSides(context.argv, positionals);
  const analysis = await openAnalysis([...a, ...b]);
  const { report, cautions } = await closeOnEnd(context, analysis, () =>
    compareTraces(analysis, {
      a: a.map((_, number) => number),
      b: b.map((_, number) => a.length + number),
      by: options.by,
      effect: options.effect,
      threshold: options.threshold ?? null,
    }),
  );
  for (const caution of cautions) context.output.warn(caution);
  if (options.format === 'csv') await writeCsv(compareRows(report), context.output);
  else await context.output.result(report, () => formatCompare(report, context.style, options.format === 'markdown'));
  return report.regressions.length > 0 ? ExitStatus.finding : ExitStatus.done;
}

/** Which traces are A's and which B's. commander hands on the operands without the `--` between them. */
function splitSides(
  argv: readonly string[],
  positionals: readonly string[],
): { readonly a: readonly string[]; readonly b: readonly string[] } {
  const separator = argv.indexOf('--');
  const behind = separator < 0 ? 0 : argv.length - separator - 1;
  const cut = positionals.length - behind;
  const [first, second, third] = positionals;
  // `-- A B`, for names that begin with a dash, is two traces as well.
  const hasSides = behind > 0 && cut > 0;
  if (!hasSides && first !== undefined && second !== undefined && third === undefined)
    return { a: [first], b: [second] };
  if (!hasSides) {
    const where =
      behind > 0 ? 'no trace before the --' : separator < 0 ? 'no -- between the two sides' : 'none after the --';
    throw new CvmtraceError('USAGE', `${formatCountOf(positionals.length, 'trace')} given, and ${where}`, {
      hint: 'cvmtrace compare A B, or several per side: cvmtrace compare A1 A2 A3 A4 A5 -- B1 B2 B3 B4 B5',
    });
  }
  return { a: positionals.slice(0, cut), b: positionals.slice(cut) };
}
