import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { SUITES } from '../../bench/suites/index.ts';
import { keepsLimit, type Metric, type Suite, type SuiteResult } from '../../bench/suites/suite.ts';
import { readHostInfo } from '../../capture/host/host-info.ts';
import { unknownName } from '../../capture/unknown-name.ts';
import { CvmtraceError, PACKAGE_VERSION } from '../../native/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatMetric } from '../format-metric.ts';
import { formatTable } from '../format-table.ts';
import { toJson } from '../json.ts';
import { claimOutputFolder } from '../output-folder.ts';
import { writeOutputFile } from '../output-file.ts';
import { startProgress } from '../progress.ts';
import { defineGroup, defineVerb, type VerbContext } from '../verb.ts';

interface RunOptions {
  readonly quick: boolean;
  readonly out?: string;
  readonly force: boolean;
}

/** Where results go without -o. */
const RESULTS = 'bench-results';

const listVerb = defineVerb({
  name: 'list',
  summary: 'the benchmarks and what each measures',
  examples: [['cvmtrace bench list', 'what there is']],
  declare: () => undefined,
  async run(context) {
    const suites = SUITES.map(({ name, summary }) => ({ name, summary }));
    await context.output.result({ suites }, () =>
      formatTable(
        [{ title: 'SUITE' }, { title: 'WHAT IT MEASURES' }],
        suites.map(({ name, summary }) => [name, summary]),
      ),
    );
    return ExitStatus.done;
  },
});

const runVerb = defineVerb<RunOptions>({
  name: 'run',
  summary: 'run benchmarks, print ratios, and keep the numbers as JSON',
  details: `Each suite measures its sides in turns in one run, on this machine: a quiet one gives narrow intervals. A promise that is not kept is
printed as such and is not an error.`,
  examples: [
    ['cvmtrace bench run', 'all of them, some minutes and some GB of disk'],
    ['cvmtrace bench run executor --quick', 'a look at one'],
  ],
  declare: (command) =>
    command
      .argument('[suite...]', 'suites to run (default: all)')
      .option('--quick', 'smaller sizes and fewer rounds', false)
      .option('-o, --out <out>', `the JSON file (default: a new one in ${RESULTS}/)`)
      .option('--force', 'overwrite OUT', false),
  run: runSuites,
});

export const benchVerb = defineGroup({
  name: 'bench',
  summary: 'benchmarks of cvmtrace itself',
  members: [listVerb, runVerb],
});

async function runSuites(context: VerbContext, names: readonly string[], options: RunOptions): Promise<number> {
  const suites = names.length === 0 ? SUITES : names.map(findSuite);
  const host = readHostInfo();
  const started = new Date().toISOString();
  const out = options.out ?? join(RESULTS, `${started.replaceAll(':', '')}.json`);
  if (options.out === undefined) await claimOutputFolder(RESULTS, { force: true });
  // On the file system of the results, not in /tmp, which may be memory.
  // Programs that suites start may want absolute paths.
  const folder = await mkdtemp(join(resolve(dirname(out)), '.suites-'));
  const results: { readonly suite: string; readonly result?: SuiteResult; readonly unavailable?: string }[] = [];
  const progress = startProgress(context, suites.length, '');
  try {
    for (const [index, suite] of suites.entries()) {
      progress.update(index, suite.name);
      const onProgress = (what: string): void => progress.update(index, `${suite.name}: ${what}`);
      try {
        results.push({
          suite: suite.name,
          result: await suite.run({ quick: options.quick, folder, signal: context.signal, onProgress }),
        });
      } catch (error) {
        if (!(error instanceof CvmtraceError) || error.code !== 'UNAVAILABLE') throw error;
        results.push({ suite: suite.name, unavailable: error.message });
      }
    }
  } finally {
    progress.stop();
    await rm(folder, { recursive: true, force: true });
  }
  const document = {
    tool: { name: 'cvmtrace', version: PACKAGE_VERSION },
    started,
    host,
    quick: options.quick,
    results,
  };
  await writeOutputFile(out, options, (sink) =>
    sink.write(`${toJson({ schema: 'cvmtrace.bench-run/1', ...document }, 2)}\n`),
  );
  await context.output.result(document, () =>
    [
      `Linux ${host.kernel.release}, ${host.cpu.logical} x ${host.cpu.model}${host.emulated ? ' (emulated)' : ''}${options.quick ? ', quick' : ''}`,
      ...results.map(({ suite, result, unavailable }) =>
        result
          ? `\n${context.style.heading(suite)}: ${result.setup}\n${metricTable(result.metrics)}`
          : `\n${suite}: not run: ${unavailable}\n`,
      ),
    ].join('\n'),
  );
  context.output.note(`the numbers are in ${out}`);
  return ExitStatus.done;
}

function findSuite(name: string): Suite {
  const found = SUITES.find((suite) => suite.name === name);
  if (found) return found;
  throw unknownName(
    'suite',
    name,
    SUITES.map((suite) => suite.name),
  );
}

function metricTable(metrics: readonly Metric[]): string {
  return formatTable(
    [
      { title: 'METRIC' },
      { title: 'VALUE', align: 'right' },
      { title: '95 % INTERVAL', align: 'right' },
      { title: 'PROMISED', align: 'right' },
      { title: 'KEPT' },
    ],
    metrics.map((metric) => {
      const { value, low, high, unit, limit } = metric;
      return [
        metric.metric,
        formatMetric(value, unit),
        low === undefined || high === undefined ? '' : `${formatMetric(low, unit)} .. ${formatMetric(high, unit)}`,
        limit ? `${limit.op} ${formatMetric(limit.value, unit)}` : '',
        keepsLimit(metric) ?? '',
      ];
    }),
  );
}
