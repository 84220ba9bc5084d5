import { basename } from 'node:path';
import { Option } from 'commander';
import { SCENARIOS } from '../../bench/scenarios/index.ts';
import { parseStrategy, PRESETS } from '../../bench/strategies/presets.ts';
import { strategyInterface, underStrategy } from '../../bench/strategies/strategy-plan.ts';
import type { Backend } from '../../capture/backends/backend.ts';
import { BACKENDS, openBackend } from '../../capture/backends/index.ts';
import { withGuest } from '../../capture/backends/with-guest.ts';
import { openWithDma } from '../../capture/dma/open.ts';
import { runWorkload, slotsOf } from '../../capture/run-workload.ts';
import { formatParameter, parseParameters } from '../../capture/workloads/parameter.ts';
import { findWorkload, WORKLOADS } from '../../capture/workloads/registry.ts';
import { countRequests } from '../../capture/workloads/workload.ts';
import { CvmtraceError, loadNative, type Native } from '../../native/index.ts';
import { assertDeviceUsed, declareDmaOptions, type DmaOptions } from '../dma-options.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatCount } from '../format-count.ts';
import { sizeOption, countOption } from '../option-values.ts';
import { parsePace } from '../pace.ts';
import { startProgress } from '../progress.ts';
import { runScenario } from '../run-scenario.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface RunOptions extends DmaOptions {
  readonly out: string;
  readonly scenario?: string;
  readonly force: boolean;
  readonly backend: string;
  readonly strategy: string;
  readonly memory: number;
  readonly seed: number;
  readonly pace: string;
  readonly param?: readonly string[];
  readonly guest: boolean;
  readonly vcpus: number;
}

const DETAILS = `\
Makes a VM (or its stand-in), and answers what the workload's guest asks for with real calls: each is timed and becomes a row of the trace.

Workloads:
${WORKLOADS.map((workload) => `  ${workload.name.padEnd(12)}${workload.summary}`).join('\n')}

Their parameters, as NAME=DEFAULT:
${WORKLOADS.flatMap(({ name, parameters }) => [
  `  ${name}`,
  ...parameters.map(
    (parameter) =>
      `    ${`${parameter.name}=${formatParameter(parameter, parameter.default)}`.padEnd(22)} ${parameter.summary}`,
  ),
]).join('\n')}

Scenarios, with --scenario: whole systems, each checked against what its interfaces promise (exit status 1 if one does not hold):
${SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(26)}${summary}`).join('\n')}

What they re-enact, what they need, and their parameters:
${SCENARIOS.flatMap(({ name, source, needs, dma, parameters }) => [
  `  ${name}`,
  `    source: ${source}`,
  `    needs: ${needs}${dma.length > 0 ? `; --dma ${dma.join(', ')}` : ''}`,
  ...parameters.map(
    (parameter) =>
      `    ${`${parameter.name}=${formatParameter(parameter, parameter.default)}`.padEnd(22)} ${parameter.summary}`,
  ),
]).join('\n')}

Backends:
${BACKENDS.map((backend) => `  ${backend.name.padEnd(12)} ${backend.summary}`).join('\n')}

Strategies, each also with NAME,axis=value (see replay --help for the axes):
${PRESETS.map((preset) => `  ${preset.name.padEnd(22)} ${preset.summary}`).join('\n')}

An interrupt ends the run; what has run by then is a whole trace.`;

export const runVerb = defineVerb<RunOptions>({
  name: 'run',
  summary: 'run a workload on this kernel and record it',
  details: DETAILS,
  examples: [
    ['cvmtrace run boot -o boot.arrow', 'a whole boot: firmware, kernel, user space'],
    [
      'cvmtrace run ovmf-flip --param transactions=20000 --memory 512M --pace asap -o flips.arrow',
      'firmware that flips pages, without think time',
    ],
    [
      'cvmtrace run swiotlb --strategy upm-eager,discard=4k -o swiotlb.arrow',
      'one large conversion, discarded page by page',
    ],
    [
      'cvmtrace run boot --backend sw-protected --guest --vcpus 2 --dma mock -o guest.arrow',
      'two vCPUs ask for themselves, and what is shared is mapped for a mock device (in cvmtrace lab run)',
    ],
    [
      'cvmtrace run --scenario shared-device-assignment --dma mock -o r1.arrow',
      'tracker, maps at 4K, partial conversions, and what coarser maps break (in cvmtrace lab run)',
    ],
  ],
  declare: (command) =>
    declareDmaOptions(
      command
        .argument('[workload]', 'what the guest does, see above')
        .option('--scenario <scenario>', 'instead of a workload: a whole system re-enacted, see above')
        .requiredOption('-o, --out <out>', 'the trace to write')
        .option('--force', 'overwrite OUT', false)
        .option('--backend <backend>', 'what the memory is made of; auto takes the best that works here', 'auto')
        .option('--strategy <strategy>', 'how conversions are answered', 'upm-eager')
        .addOption(
          new Option('--memory <size>', 'guest memory').argParser(sizeOption('--memory')).default(2 ** 30, '1G'),
        )
        .option('--seed <n>', 'seed of the generator', countOption('--seed', 0), 1)
        .option(
          '--pace <pace>',
          "recorded (with the workload's think times), asap (without), or a factor of the times",
          'recorded',
        )
        .option('--param <name=value...>', "the workload's own parameters, see above")
        .option('--guest', 'run a guest that performs the requests, so that exits are real', false)
        .option(
          '--vcpus <n>',
          'vCPUs of --guest, each with the workload in its part of memory',
          countOption('--vcpus', 1),
          1,
        ),
    ),
  run,
});

async function run(context: VerbContext, [name]: readonly string[], options: RunOptions): Promise<number> {
  if ((name === undefined) === (options.scenario === undefined)) {
    throw new CvmtraceError('USAGE', name === undefined ? 'what is to run?' : 'a workload or a --scenario, not both', {
      hint: 'name a workload (cvmtrace run boot -o OUT), or a scenario (cvmtrace run --scenario discard -o OUT)',
    });
  }
  if (options.scenario !== undefined) return runScenario(context, options.scenario, options);
  return runOneWorkload(context, name ?? '', options);
}

async function runOneWorkload(context: VerbContext, name: string, options: RunOptions): Promise<number> {
  const workload = findWorkload(name);
  const parameters = parseParameters(`workload ${name}`, workload.parameters, options.param ?? []);
  const strategy = parseStrategy(options.strategy);
  const pacing = parsePace(options.pace, 'relative');
  const settings = { memoryBytes: options.memory, seed: options.seed, parameters };
  const requests = countRequests(workload, settings);
  const native = loadNative();
  if (!options.guest && options.vcpus !== 1)
    throw new CvmtraceError('USAGE', '--vcpus needs --guest', {
      hint: 'without a guest, requests are made up for one vCPU',
    });
  const dma = strategyInterface(strategy, options.dma);
  assertDeviceUsed(options, [dma]);
  using opened = await openWithDma(await openForRun(options, native), native, {
    ...options,
    dma,
    slots: slotsOf(settings),
  });
  const { backend } = opened;
  const progress = startProgress(context, requests * options.vcpus, workload.name);
  const summary = await runWorkload({
    native,
    backend,
    workload,
    settings,
    ...underStrategy(strategy),
    pacing,
    out: options.out,
    force: options.force,
    command: ['cvmtrace', ...context.argv],
    signal: context.signal,
    onProgress: (done) => progress.update(done),
  }).finally(() => progress.stop());
  for (const step of backend.leftOut) context.output.note(`left out: ${step.step}: ${step.reason}`);
  if (summary.failures > 0)
    context.output.warn(`${formatCount(summary.failures)} operations failed: see cvmtrace analyze`);
  const standIn = backend.standIn ? ' (stand-in)' : '';
  await context.output.result(
    {
      out: options.out,
      workload: workload.name,
      backend: { name: backend.name, standIn: backend.standIn },
      leftOut: backend.leftOut,
      ...summary,
    },
    () =>
      `${basename(options.out)}: ${formatCount(summary.requests)} requests, ${formatCount(summary.rows)} operations on ${backend.name}${standIn}, ` +
      `${formatCount(summary.failures)} failed`,
  );
  if (summary.interrupted) {
    throw new CvmtraceError('INTERRUPTED', 'interrupted', {
      hint: `what had run by then is a whole trace: ${options.out}`,
    });
  }
  return ExitStatus.done;
}

async function openForRun({ backend, guest, vcpus }: RunOptions, native: Native): Promise<Backend> {
  const opened = await openBackend(backend, native);
  return guest ? withGuest(opened, native, vcpus) : opened;
}
