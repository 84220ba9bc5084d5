import { type Scenario, SCENARIOS, type ScenarioReport } from '../bench/scenarios/index.ts';
import { allHold } from '../bench/scenarios/scenario.ts';
import { claimDevice } from '../capture/dma/device.ts';
import { unknownName } from '../capture/unknown-name.ts';
import { parseParameters } from '../capture/workloads/parameter.ts';
import { CvmtraceError, loadNative } from '../native/index.ts';
import type { DmaOptions } from './dma-options.ts';
import { ExitStatus } from './exit-status.ts';
import { startProgress } from './progress.ts';
import { formatScenario, scenarioFields } from './scenario-report.ts';
import type { VerbContext } from './verb.ts';

export interface ScenarioOptions extends DmaOptions {
  readonly out: string;
  readonly force: boolean;
  readonly param?: readonly string[];
}

/** Options of `run` that a scenario decides by itself. */
const NOT_FOR_SCENARIOS = ['--backend', '--strategy', '--memory', '--seed', '--pace', '--guest', '--vcpus'];

/**
 * Runs a scenario and prints its report; exit status 1 if something does not hold that its interface promises.
 * @throws CvmtraceError USAGE for an unknown name or an option that scenarios do not have, and what the scenario throws
 */
export async function runScenario(context: VerbContext, name: string, options: ScenarioOptions): Promise<number> {
  const scenario = findScenario(name);
  const given = NOT_FOR_SCENARIOS.filter((flag) =>
    context.argv.some((word) => word === flag || word.startsWith(`${flag}=`)),
  );
  if (given.length > 0) {
    throw new CvmtraceError('USAGE', `a scenario has no ${given.join(', ')}: it decides that by itself`, {
      hint: `what ${name} has: ${['--dma', '--device', '--param'].join(', ')}; see run --help`,
    });
  }
  const parameters = parseParameters(`scenario ${name}`, scenario.parameters, options.param ?? []);
  const native = loadNative();
  const needsDevice = options.dma !== undefined && options.dma !== 'mock';
  const claimed = needsDevice && options.bindDevice ? claimDevice(options.device, true) : undefined;
  const progress = startProgress(context, 1, scenario.name);
  let report: ScenarioReport;
  try {
    report = await scenario.run({
      native,
      out: options.out,
      force: options.force,
      command: ['cvmtrace', ...context.argv],
      signal: context.signal,
      parameters,
      ...(options.dma !== undefined && { dma: options.dma }),
      ...(options.device !== undefined && { device: options.device }),
      onProgress: (share, what) => progress.update(share, what),
    });
  } finally {
    progress.stop();
    claimed?.[Symbol.dispose]();
  }
  await context.output.result(scenarioFields(report), () => formatScenario(report, context.style));
  return allHold(report) ? ExitStatus.done : ExitStatus.finding;
}

/** @throws CvmtraceError USAGE listing the valid names */
function findScenario(name: string): Scenario {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found) return found;
  throw unknownName(
    'scenario',
    name,
    SCENARIOS.map((scenario) => scenario.name),
  );
}
