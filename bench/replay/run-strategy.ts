import type { Backend } from '../../capture/backends/backend.ts';
import type { ExecutionSummary } from '../../capture/execute-requests.ts';
import { recordRequests, type RunMetadata } from '../../capture/record-requests.ts';
import type { GuestRequest, Side } from '../../capture/request.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import type { ExecuteOptions, Native } from '../../native/index.ts';
import type { RangeMap } from '../range-map.ts';
import { describeStrategy, type Strategy } from '../strategies/presets.ts';
import { StrategyPlan } from '../strategies/strategy-plan.ts';
import { DmaMappings } from './dma-mappings.ts';
import { MemoryModel } from './memory-model.ts';
import { MemorySampler, type MemorySamples } from './memory-samples.ts';

export interface StrategyRun {
  readonly native: Native;
  readonly backend: Backend;
  readonly slots: readonly SlotRange[];
  readonly strategy: Strategy;
  readonly requests: Iterable<GuestRequest>;
  readonly pacing: ExecuteOptions;
  readonly metadata: RunMetadata;
  readonly out: string;
  readonly force: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (requestsDone: number) => void;
  /** Numbers of the requests after which the kernel is asked what it holds; only in a run whose times are not used. */
  readonly sampleAfter?: ReadonlySet<number>;
}

export interface StrategyRunResult extends ExecutionSummary {
  /** Which side each converted address is on at the end. */
  readonly finalState: RangeMap<Side>;
  /** Most bytes held on both sides at once, computed from the rows. */
  readonly peakBothBytes: number;
  /** Bytes that wait for a lazy discard at the end. */
  readonly pendingBytes: number;
  readonly memory: MemorySamples | null;
  /** Mappings for DMA: most at any time, and those left at the end; null without DMA. */
  readonly dma: {
    readonly peakMappings: number;
    readonly left: { readonly entries: number; readonly bytes: number };
  } | null;
}

/** Executes the requests once under a strategy, in a VM of its own, into a trace of its own. */
export async function runStrategy(run: StrategyRun): Promise<StrategyRunResult> {
  const { backend, slots, strategy, sampleAfter } = run;
  const plan = new StrategyPlan(strategy.axes, backend, slots);
  const model = new MemoryModel(backend.abilities.attributes);
  const dma = backend.dma && new DmaMappings(backend.dma.interface);
  const sampler = sampleAfter && new MemorySampler(model, slots);
  const summary = await recordRequests({
    ...run,
    layout: { slots },
    streams: [{ plan, requests: run.requests }],
    metadata: { ...run.metadata, strategy: describeStrategy(strategy) },
    onRows: (rows) => {
      model.applyRows(rows);
      dma?.applyRows(rows);
    },
    ...(sampler && {
      inspect: { after: (number: number) => sampleAfter.has(number), look: (session) => sampler.sample(session) },
    }),
  });
  return {
    ...summary,
    finalState: model.state,
    peakBothBytes: model.peakBothBytes,
    pendingBytes: plan.pendingBytes('private') + plan.pendingBytes('shared'),
    memory: sampler?.samples ?? null,
    dma: dma && { peakMappings: dma.peak, left: dma.live },
  };
}
