import { readHostInfo } from '../../capture/host/host-info.ts';
import { DMA_INTERFACES, type DmaInterface } from '../../capture/dma/target.ts';
import { recordSteps, type StepRecorder, type StepRow } from '../../capture/record-steps.ts';
import type { KnownMetadata } from '../../capture/trace/metadata.ts';
import { unknownName } from '../../capture/unknown-name.ts';
import { completeParameters, type CompleteValues, type Parameter } from '../../capture/workloads/parameter.ts';
import { CvmtraceError, OpBatch, type OpName, type Operands } from '../../native/index.ts';
import { Findings } from './findings.ts';
import type { Scenario, ScenarioReport, ScenarioRun } from './scenario.ts';

/** One operation, as a step writes it down. */
export type Operation = readonly [op: OpName, operands: Operands, detail?: string];

/** Where a scenario runs: its kernel objects, its trace and its findings. */
export class Stage {
  readonly recorder: StepRecorder;
  readonly findings: Findings;
  #phase: string | undefined;

  constructor(recorder: StepRecorder, findings: Findings) {
    this.recorder = recorder;
    this.findings = findings;
  }

  /** A phase begins. */
  async phase(name: string): Promise<void> {
    this.#phase = name;
    await this.recorder.mark(name);
  }

  /** Executes operations in order, all of them. */
  async steps(operations: readonly Operation[]): Promise<StepRow[]> {
    const batch = new OpBatch(Math.max(1, operations.length));
    for (const [op, operands, detail] of operations) batch.push(op, operands, detail);
    return this.recorder.step(batch);
  }

  async one(op: OpName, operands: Operands, detail?: string): Promise<StepRow> {
    const [row] = await this.steps([[op, operands, detail]]);
    if (!row) throw new Error(`no row for ${op}`);
    return row;
  }

  /**
   * Executes what the scenario cannot do without.
   * @throws CvmtraceError UNAVAILABLE with the operation that failed.
   */
  async need(operations: readonly Operation[]): Promise<StepRow[]> {
    const rows = await this.steps(operations);
    const failed = rows.find(({ errno }) => errno !== 0);
    if (!failed) return rows;
    throw new CvmtraceError('UNAVAILABLE', `${failed.op}: ${failed.errnoName}`, {
      hint: 'cvmtrace probe says what this host can do; cvmtrace lab run has all of it',
    });
  }

  /** Executes an operation and holds its answer against the expected one: an errno's name, or '' for success. */
  async expect(what: string, expected: string, op: OpName, operands: Operands): Promise<StepRow> {
    const row = await this.one(op, operands);
    this.judge(what, row.errnoName, expected);
    return row;
  }

  /** Holds an errno's name, '' for success, against the expected one. */
  judge(what: string, errnoName: string, expected = ''): void {
    this.findings.expect(what, answerOf(errnoName), answerOf(expected));
  }

  /** What this kernel lacks, in the report and in the trace. */
  async leaveOut(step: string, reason: string, errno?: string): Promise<void> {
    this.findings.leave(step, reason, errno);
    await this.recorder.mark(`left out: ${step}${errno ? ` (${errno})` : ''}`);
    // The phase goes on.
    if (this.#phase !== undefined) await this.recorder.mark(this.#phase);
  }
}

function answerOf(errnoName: string): string {
  return errnoName === '' ? 'success' : errnoName;
}

/** What a scenario knows of its backend and guest before it runs. */
export type Setting = Partial<Pick<KnownMetadata, 'backend' | 'dma' | 'guest'>> & Pick<KnownMetadata, 'leftOut'>;

/** One run of a scenario: what it was asked for, and how it goes on the stage. */
export interface Act<P extends readonly Parameter[]> {
  readonly run: ScenarioRun;
  readonly values: CompleteValues<P>;
  /** The first of the scenario's, if none was named; undefined if it has none. */
  readonly dma: DmaInterface | undefined;
  /** Plays into the run's trace; a check that does not hold makes its exit status 1. */
  readonly record: (setting: Setting, play: (stage: Stage) => Promise<void>) => Promise<ScenarioReport>;
}

interface Definition<P extends readonly Parameter[]> extends Omit<Scenario, 'parameters' | 'run'> {
  readonly parameters: P;
  readonly play: (act: Act<P>) => Promise<ScenarioReport>;
}

export function defineScenario<const P extends readonly Parameter[]>(definition: Definition<P>): Scenario {
  const { play, ...described } = definition;
  return {
    ...described,
    async run(run) {
      const values = completeParameters(`scenario ${described.name}`, definition.parameters, run.parameters ?? {});
      const dma = dmaOf(described, run);
      return play({
        run,
        values,
        dma,
        record: (setting, onStage) => record(described.name, run, { ...values, ...(dma && { dma }) }, setting, onStage),
      });
    },
  };
}

const NO_GUEST: KnownMetadata['guest'] = { memoryBytes: null, vcpus: null, vmType: null, requests: null, slots: [] };

async function record(
  name: string,
  run: ScenarioRun,
  parameters: Readonly<Record<string, number | string>>,
  setting: Setting,
  play: (stage: Stage) => Promise<void>,
): Promise<ScenarioReport> {
  const findings = new Findings();
  findings.leftOut.push(...setting.leftOut);
  const host = readHostInfo();
  const metadata = {
    source: 'run',
    command: run.command,
    host,
    guest: NO_GUEST,
    ...setting,
    workload: { name, seed: 0, parameters },
  } as const;
  await recordSteps({ ...run, metadata }, async (recorder) => {
    await play(new Stage(recorder, findings));
    return findings.allHold ? 0 : 1;
  });
  const { checks, tables, leftOut } = findings;
  return { scenario: name, checks, tables, leftOut, emulated: host.emulated, trace: run.out };
}

function dmaOf(scenario: Pick<Scenario, 'name' | 'dma'>, { dma }: ScenarioRun): DmaInterface | undefined {
  if (dma === undefined) return scenario.dma[0];
  const found = scenario.dma.find((name) => name === dma);
  if (found !== undefined) return found;
  if (!DMA_INTERFACES.some((name) => name === dma)) throw unknownName('DMA interface', dma, DMA_INTERFACES);
  throw new CvmtraceError('USAGE', `scenario ${scenario.name} does not run with --dma ${dma}`, {
    hint: scenario.dma.length > 0 ? `it takes ${scenario.dma.join(', ')}` : 'it has no DMA',
  });
}
