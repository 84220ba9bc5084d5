/** Replays a trace under several strategies, in turns, and compares them. */
import { join } from 'node:path';
import { openAnalysis } from '../../analyze/db/open-analysis.ts';
import type { Backend } from '../../capture/backends/backend.ts';
import { openWithDma } from '../../capture/dma/open.ts';
import { readHostInfo } from '../../capture/host/host-info.ts';
import type { RunMetadata } from '../../capture/record-requests.ts';
import type { LeftOutStep, TraceMetadata } from '../../capture/trace/metadata.ts';
import { CvmtraceError, type ExecuteOptions, type Native } from '../../native/index.ts';
import { type Interval, meanInterval, median, pairedRatio } from '../stats/interval.ts';
import { formatAxes } from '../strategies/axes.ts';
import type { Strategy } from '../strategies/presets.ts';
import { strategyInterface } from '../strategies/strategy-plan.ts';
import { type BootEstimate, estimateBoot } from './boot-estimate.ts';
import { assertFits, forecast, type Forecast } from './forecast.ts';
import { type FailureCount, type Lag, measureRuns, type OperationCount } from './measure.ts';
import type { MemorySamples } from './memory-samples.ts';
import { type Recorded, type RecordedTimes, readRecorded } from './recorded.ts';
import { runStrategy, type StrategyRunResult } from './run-strategy.ts';

/** Places in a run, besides the forecast peak and the end, where the kernel is asked what it holds. */
const SAMPLES = 16;

export interface ReplayOptions {
  readonly native: Native;
  readonly backend: Backend;
  /** What --dma says, and the device that its interfaces need. */
  readonly dma?: string;
  readonly device?: string;
  readonly bindDevice?: boolean;
  readonly trace: string;
  readonly strategies: readonly Strategy[];
  /** Timed runs of each strategy. */
  readonly rounds: number;
  /** `absolute` keeps the recorded times, scaled; `asap` does not wait. */
  readonly pacing: ExecuteOptions;
  /** Existing folder for the traces. */
  readonly folder: string;
  readonly force: boolean;
  readonly command: readonly string[];
  readonly signal: AbortSignal;
  /** Share done, 0 to 1, and what is under way. */
  readonly onProgress?: (share: number, what: string) => void;
}

export interface StrategyResult {
  readonly name: string;
  readonly axes: Readonly<Record<string, string>>;
  /** ns per run. */
  readonly stallNs: Interval;
  /** ns; of each run's conversions, the median of the runs. */
  readonly stallP50Ns: number;
  readonly stallP99Ns: number;
  readonly stallMaxNs: number;
  /** ns per run in faults of touched memory. */
  readonly faultNs: Interval;
  /** ns per run from the first request to the end of the last operation, without what this process did between batches. */
  readonly wallNs: Interval;
  /** Stall over the first strategy's, and stall with faults over the first's. Absent for the first, and where a run has none. */
  readonly stallRatio: Interval | null;
  readonly hostTimeRatio: Interval | null;
  /** null if the recording does not have the times that it needs. */
  readonly estimatedBoot: BootEstimate | null;
  readonly operations: readonly OperationCount[];
  readonly failures: readonly FailureCount[];
  readonly lag: Lag | null;
  /** Mappings for DMA: through what, most at any time, and those left at the end of the last run; null without DMA. */
  readonly dma: (NonNullable<StrategyRunResult['dma']> & { readonly interface: string }) | null;
  readonly memory: {
    /** Most bytes held on both sides at once, after any operation, computed from the rows. */
    readonly peakBothBytes: number;
    /** What the kernel said at some moments of a run of its own. */
    readonly sampled: MemorySamples;
    /** Bytes that a lazy discard still owed at the end. */
    readonly pendingBytes: number;
  };
  /** True if every address ended on the side on which the recording left it, in every run. */
  readonly finalStateEqual: boolean;
  readonly traces: readonly string[];
}

export interface ReplayReport {
  readonly trace: string;
  readonly recorded: {
    readonly requests: number;
    readonly skipped: Readonly<Record<string, number>>;
    readonly times: RecordedTimes | null;
    readonly slotsFrom: Recorded['slotsFrom'];
    readonly metadata: TraceMetadata;
  };
  readonly backend: { readonly name: string; readonly standIn: boolean };
  readonly leftOut: readonly LeftOutStep[];
  readonly emulated: boolean;
  readonly pacing: NonNullable<TraceMetadata['pacing']>;
  readonly rounds: number;
  readonly strategies: readonly StrategyResult[];
}

interface Runs {
  readonly strategy: Strategy;
  /** With the DMA target of the strategy. */
  readonly backend: Backend;
  readonly forecast: Forecast;
  readonly paths: string[];
  readonly spansNs: number[];
  memory: StrategyRunResult | undefined;
  finalStateEqual: boolean;
  peakBothBytes: number;
}

/**
 * Round 0 of each strategy warms up and samples memory; its times are not used. Rounds 1 to N are timed and interleaved: A B C, A B C, ...
 * @throws CvmtraceError USAGE, BAD_INPUT, UNAVAILABLE (memory), IO, INTERRUPTED
 */
export async function replay(options: ReplayOptions): Promise<ReplayReport> {
  const claims: Disposable[] = [];
  try {
    return await replayWith(options, claims);
  } finally {
    for (const claim of claims.reverse()) claim[Symbol.dispose]();
  }
}

/** @param claims what is to be given back at the end, first to last */
async function replayWith(options: ReplayOptions, claims: Disposable[]): Promise<ReplayReport> {
  const { folder, pacing, rounds, signal, strategies } = options;
  const { recorded, metadata } = await readTrace(options);
  using requests = recorded;
  if (pacing.pace === 'absolute' && recorded.times === null) {
    throw new CvmtraceError('USAGE', 'the trace has no times to keep to', { hint: 'replay it with --pace asap' });
  }
  const host = readHostInfo();
  const all: Runs[] = [];
  for (const strategy of strategies) {
    const opened = await openWithDma(options.backend, options.native, {
      dma: strategyInterface(strategy, options.dma),
      ...(options.device !== undefined && { device: options.device }),
      bindDevice: options.bindDevice === true,
      slots: recorded.slots,
    });
    claims.push(opened);
    const { backend } = opened;
    const expected = await forecast(strategy, backend, recorded.slots, recorded.requests, signal);
    assertFits(`a replay under ${strategy.name}`, expected.peakBytes);
    all.push({
      strategy,
      backend,
      forecast: expected,
      paths: [],
      spansNs: [],
      memory: undefined,
      finalStateEqual: true,
      peakBothBytes: 0,
    });
  }

  const total = requests.requests.count * all.length * (rounds + 1);
  let done = 0;
  for (let round = 0; round <= rounds; round++) {
    for (const runs of all) {
      const what = round === 0 ? `${runs.strategy.name}: memory` : `${runs.strategy.name}: round ${round} of ${rounds}`;
      const out = join(folder, `${fileName(runs.strategy.name)}-${round}.arrow`);
      const runMetadata: RunMetadata = {
        source: 'replay',
        command: options.command,
        host,
        guest: { ...metadata.guest, vmType: runs.backend.vmType, requests: 'recorded', slots: recorded.slots },
        replay: { of: options.trace, round },
        ...(metadata.workload && { workload: metadata.workload }),
      };
      const result = await runStrategy({
        native: options.native,
        backend: runs.backend,
        slots: recorded.slots,
        strategy: runs.strategy,
        requests: recorded.requests,
        pacing: round === 0 ? {} : pacing,
        metadata: runMetadata,
        out,
        force: options.force,
        signal,
        onProgress: (inRun) => options.onProgress?.((done + inRun) / total, what),
        ...(round === 0 && { sampleAfter: samplePoints(recorded.requests.count, runs.forecast.peakAfterRequest) }),
      });
      signal.throwIfAborted();
      done += recorded.requests.count;
      runs.finalStateEqual &&= result.finalState.equals(recorded.finalState);
      runs.peakBothBytes = Math.max(runs.peakBothBytes, result.peakBothBytes);
      if (round === 0) runs.memory = result;
      else {
        runs.paths.push(out);
        runs.spansNs.push(result.spanNs);
      }
    }
  }

  return {
    trace: options.trace,
    recorded: {
      requests: recorded.requests.count,
      skipped: recorded.skipped,
      times: recorded.times,
      slotsFrom: recorded.slotsFrom,
      metadata,
    },
    backend: { name: options.backend.name, standIn: options.backend.standIn },
    leftOut: leftOutOf(all),
    emulated: host.emulated,
    pacing: { mode: pacing.pace ?? 'asap', factor: pacing.paceFactor ?? 1 },
    rounds,
    strategies: await compare(all, recorded.times),
  };
}

async function readTrace(options: ReplayOptions): Promise<{ recorded: Recorded; metadata: TraceMetadata }> {
  await using analysis = await openAnalysis([options.trace], {});
  const stop = (): void => analysis.interrupt();
  options.signal.addEventListener('abort', stop);
  try {
    const metadata = analysis.traces[0]?.metadata;
    if (!metadata) throw new Error('an analysis of one trace has one trace');
    return { recorded: await readRecorded(analysis, options.folder, options.backend.abilities.attributes), metadata };
  } finally {
    options.signal.removeEventListener('abort', stop);
  }
}

async function compare(all: readonly Runs[], recorded: RecordedTimes | null): Promise<StrategyResult[]> {
  const measured = await Promise.all(all.map((runs) => measureRuns(runs.paths)));
  const base = measured[0]?.runs ?? [];
  return all.map((runs, index) => {
    const {
      runs: times,
      operations,
      failures,
      lag,
    } = measured[index] ?? { runs: [], operations: [], failures: [], lag: null };
    const { memory } = runs;
    if (!memory?.memory) throw new Error('round 0 samples memory');
    const hostTime = (run: { stallNs: number; faultNs: number }): number => run.stallNs + run.faultNs;
    const first = index === 0;
    return {
      name: runs.strategy.name,
      axes: formatAxes(runs.strategy.axes),
      stallNs: meanInterval(times.map((run) => run.stallNs)),
      stallP50Ns: median(times.map((run) => run.stallP50Ns)),
      stallP99Ns: median(times.map((run) => run.stallP99Ns)),
      stallMaxNs: median(times.map((run) => run.stallMaxNs)),
      faultNs: meanInterval(times.map((run) => run.faultNs)),
      wallNs: meanInterval(runs.spansNs),
      stallRatio: first
        ? null
        : (pairedRatio(
            times.map((run) => run.stallNs),
            base.map((run) => run.stallNs),
          ) ?? null),
      hostTimeRatio: first ? null : (pairedRatio(times.map(hostTime), base.map(hostTime)) ?? null),
      estimatedBoot:
        recorded &&
        estimateBoot(
          recorded,
          times.map((run) => run.vcpus),
        ),
      operations,
      failures,
      lag,
      memory: { peakBothBytes: runs.peakBothBytes, sampled: memory.memory, pendingBytes: memory.pendingBytes },
      dma: memory.dma && runs.backend.dma && { ...memory.dma, interface: runs.backend.dma.interface },
      finalStateEqual: runs.finalStateEqual,
      traces: runs.paths,
    };
  });
}

/** What any of the backends leaves out, once. */
function leftOutOf(all: readonly Runs[]): LeftOutStep[] {
  const steps = all.flatMap(({ backend }) => backend.leftOut);
  return steps.filter((step, index) => steps.findIndex((other) => other.step === step.step) === index);
}

/** Requests after which memory is looked at: evenly spread, at the forecast peak, and at the end. */
function samplePoints(requests: number, peakAfterRequest: number): Set<number> {
  const points = Array.from({ length: SAMPLES }, (_, i) => Math.ceil(((i + 1) * requests) / SAMPLES));
  return new Set([...points, peakAfterRequest]);
}

/** A strategy's name without what is awkward in a file name. */
function fileName(strategy: string): string {
  return strategy.replace(/[^\w.-]+/g, '_');
}
