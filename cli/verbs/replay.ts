import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replay, type ReplayReport } from '../../bench/replay/replay.ts';
import { AXES } from '../../bench/strategies/axes.ts';
import { parseStrategies, PRESETS } from '../../bench/strategies/presets.ts';
import { strategyInterface } from '../../bench/strategies/strategy-plan.ts';
import { BACKENDS, openBackend } from '../../capture/backends/index.ts';
import { loadNative } from '../../native/index.ts';
import { assertDeviceUsed, declareDmaOptions, type DmaOptions } from '../dma-options.ts';
import { ExitStatus } from '../exit-status.ts';
import { countOption } from '../option-values.ts';
import { claimOutputFolder } from '../output-folder.ts';
import { parsePace } from '../pace.ts';
import { startProgress } from '../progress.ts';
import { writeReplayReport } from '../replay-report-file.ts';
import { formatReplay } from '../replay-tables.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface ReplayVerbOptions extends DmaOptions {
  readonly strategy: string;
  readonly backend: string;
  readonly pace: string;
  readonly runs: number;
  readonly out?: string;
  readonly force: boolean;
}

/** Fewer than this give an interval that says nothing. */
const ENOUGH_ROUNDS = 5;

const DETAILS = `\
Reads the guest's requests from a trace and answers them again, with real calls in a fresh VM, once for each strategy and round. The strategies
take turns (A B C, A B C, ...), after a round that warms up and asks the kernel what memory it holds. Each run is a trace too.

Strategies:
${PRESETS.map((preset) => `  ${preset.name.padEnd(22)} ${preset.summary}`).join('\n')}

Axes, as in upm-eager,attributes=4k,discard-shared=lazy:64M/16M:
${[...AXES].map(([name, axis]) => `  ${name.padEnd(16)} ${axis.summary}: ${axis.values}`).join('\n')}

Backends: auto, ${BACKENDS.map((backend) => backend.name).join(', ')}

The estimated boot is modelled: the recorded time, less what vCPUs stood still then, plus what the replay took. It is absent where the trace has
no times.`;

export const replayVerb = defineVerb<ReplayVerbOptions>({
  name: 'replay',
  summary: 'answer the requests of a trace again, under several strategies, and compare them',
  details: DETAILS,
  examples: [
    [
      'cvmtrace replay boot.arrow --strategy upm-eager,upm-no-shared-discard,lazy-discard',
      'the question of the published case',
    ],
    [
      'cvmtrace replay boot.arrow --strategy upm-eager,upm-eager,discard=4k --runs 10 -o runs',
      'what finer discards cost; keep the traces',
    ],
    ['cvmtrace replay boot.arrow --strategy upm-eager --pace recorded', "at the recording's own pace"],
    [
      'cvmtrace replay boot.arrow --strategy qemu-10.1,dma-2m,qemu-10.1,interface=type1 --dma iommufd --device 0000:01:00.0',
      'what larger mappings save and break, and another interface beside it',
    ],
  ],
  declare: (command) =>
    declareDmaOptions(
      command
        .argument('<trace>', 'the trace whose requests are answered again')
        .requiredOption('--strategy <list>', 'strategies, separated by commas; ratios are to the first')
        .option('--backend <backend>', 'what the memory is made of; auto takes the best that works here', 'auto')
        .option('--pace <pace>', "asap, recorded (the trace's own times), or a factor of them", 'asap')
        .option('--runs <n>', 'timed runs of each strategy', countOption('--runs', 1), ENOUGH_ROUNDS)
        .option('-o, --out <folder>', 'keep the traces of the runs and replay.json here')
        .option('--force', 'overwrite what is in the folder', false),
    ),
  run: runReplay,
});

async function runReplay(
  context: VerbContext,
  [trace = '']: readonly string[],
  options: ReplayVerbOptions,
): Promise<number> {
  const strategies = parseStrategies(options.strategy);
  const pacing = parsePace(options.pace, 'absolute');
  assertDeviceUsed(
    options,
    strategies.map((strategy) => strategyInterface(strategy, options.dma)),
  );
  const native = loadNative();
  const backend = await openBackend(options.backend, native);
  if (options.runs < ENOUGH_ROUNDS)
    context.output.warn(`${options.runs} runs give a weak interval: ${ENOUGH_ROUNDS} or more are better`);

  const folder = options.out ?? (await mkdtemp(join(tmpdir(), 'cvmtrace-')));
  if (options.out !== undefined) await claimOutputFolder(options.out, options);
  const progress = startProgress(context, 1, 'reading the trace');
  let report: ReplayReport;
  try {
    report = await replay({
      native,
      backend,
      ...(options.dma !== undefined && { dma: options.dma }),
      ...(options.device !== undefined && { device: options.device }),
      bindDevice: options.bindDevice,
      trace,
      strategies,
      rounds: options.runs,
      pacing,
      folder,
      force: options.force,
      command: ['cvmtrace', ...context.argv],
      signal: context.signal,
      onProgress: (share, what) => progress.update(share, what),
    });
    if (options.out !== undefined) await writeReplayReport(join(folder, 'replay.json'), report, options.force);
  } finally {
    progress.stop();
    if (options.out === undefined) await rm(folder, { recursive: true, force: true });
  }
  await context.output.result(options.out === undefined ? withoutTraces(report) : report, () =>
    formatReplay(report, context.style),
  );
  if (options.out !== undefined) context.output.note(`the traces of the runs and replay.json are in ${options.out}`);
  return ExitStatus.done;
}

/** Without the names of traces that are gone. */
function withoutTraces(report: ReplayReport): object {
  return { ...report, strategies: report.strategies.map((strategy) => ({ ...strategy, traces: [] })) };
}
