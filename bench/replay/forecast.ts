import { setImmediate } from 'node:timers/promises';
import type { Backend } from '../../capture/backends/backend.ts';
import type { GuestRequest } from '../../capture/request.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import { CvmtraceError, OpBatch } from '../../native/index.ts';
import { StrategyPlan } from '../strategies/strategy-plan.ts';
import type { Strategy } from '../strategies/presets.ts';
import { formatSize } from '../../capture/size.ts';
import { MemoryModel } from './memory-model.ts';

/** What a strategy will do to memory if every call works, computed before anything runs. */
export interface Forecast {
  /** Number (from 1) of the request after which most memory is held on both sides. */
  readonly peakAfterRequest: number;
  /** Most bytes held at any time, both sides together. */
  readonly peakBytes: number;
}

/** Requests between two looks at the signal: some ten ms. */
const LOOK_REQUESTS = 16_384;

export async function forecast(
  strategy: Strategy,
  backend: Backend,
  slots: readonly SlotRange[],
  requests: Iterable<GuestRequest>,
  signal: AbortSignal,
): Promise<Forecast> {
  const plan = new StrategyPlan(strategy.axes, backend, slots);
  const model = new MemoryModel(backend.abilities.attributes);
  const initial = new OpBatch(16);
  plan.setUp(initial);
  model.applyPlanned(initial);
  let number = 0;
  let peakAfterRequest = 0;
  let peakBoth = -1;
  for (const request of requests) {
    const batch = new OpBatch(16);
    plan.apply(request, batch);
    model.applyPlanned(batch);
    number++;
    if (number % LOOK_REQUESTS === 0) {
      await setImmediate();
      signal.throwIfAborted();
    }
    if (model.heldBytes.both > peakBoth) {
      peakBoth = model.heldBytes.both;
      peakAfterRequest = number;
    }
  }
  return { peakAfterRequest, peakBytes: model.peakBytes };
}

/**
 * Refuses a run that would need more memory than the host can give: the kernel would end it, or another process, in the middle.
 * @throws CvmtraceError UNAVAILABLE
 */
export function assertFits(what: string, peakBytes: number): void {
  // Without swapping, and within the control group if there is one.
  const available = process.availableMemory();
  if (peakBytes <= available) return;
  throw new CvmtraceError(
    'UNAVAILABLE',
    `${what} would hold ${mebibytes(peakBytes)} of memory, and ${mebibytes(available)} are available`,
    { hint: 'attributes-only and eager discards hold the least; or use a host with as much memory as the guest' },
  );
}

function mebibytes(bytes: number): string {
  return formatSize(Math.floor(bytes / 2 ** 20) * 2 ** 20);
}
