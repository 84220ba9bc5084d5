import { CvmtraceError, type ExecutedBatch, OpBatch } from '../native/index.ts';
import { ObjectNumber } from './backends/backend.ts';
import { guestPlan } from './backends/with-guest.ts';
import {
  BATCH_OPS,
  type ExecutionOptions,
  type ExecutionSummary,
  setUpBatch,
  setUpFailed,
  spanOf,
} from './execute-requests.ts';
import { mergeByStart } from './merge-batches.ts';
import type { GuestRequest } from './request.ts';

/** A vCPU's requests, as far as they were handed out. */
interface Vcpu {
  readonly obj: number;
  readonly requests: Iterator<GuestRequest>;
  done: boolean;
}

/**
 * As `executeRequests`, but a guest performs the requests: every vCPU its own stream, all at the same time. They stop together after each batch, in
 * which JavaScript prepares the next.
 * @throws CvmtraceError UNAVAILABLE if the set-up fails, CRASHED if the guest or KVM does what was not planned
 */
export async function executeGuest(options: ExecutionOptions): Promise<ExecutionSummary> {
  const { native, backend, layout, streams, pacing, signal } = options;
  const { guest } = backend;
  if (guest?.vcpus !== streams.length) throw new Error('a guest has one stream of requests per vCPU');
  const session = native.createSession();
  const interrupted = (): boolean => signal?.aborted === true;
  const cancel = (): void => session.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  const total = { requests: 0, rows: 0, failures: 0, spanNs: 0 };
  const take = (rows: ExecutedBatch, details: ReadonlyMap<number, string>): void => {
    total.rows += rows.rows;
    total.failures += rows.failures;
    total.spanNs += spanOf(rows);
    options.onRows(rows, details);
  };

  try {
    options.onStart?.(session.clockBaseNs);
    const setUp = setUpBatch(options);
    take(await session.execute(setUp.words, { stopAtFailure: true }), setUp.details);
    if (total.failures > 0) throw setUpFailed(backend);
    total.spanNs = 0;

    const vcpus = streams.map(({ requests }, index): Vcpu => ({
      obj: ObjectNumber.vcpu + index,
      requests: requests[Symbol.iterator](),
      done: false,
    }));
    while (!interrupted()) {
      const batches = vcpus.map((vcpu, index) => fill(vcpu, streams[index]?.plan.apply.bind(streams[index].plan)));
      const work = batches.flatMap(({ batch, requests }, index) =>
        batch.count === 0 ? [] : [{ obj: vcpus[index]?.obj ?? 0, batch, requests }],
      );
      if (work.length === 0) break;
      const plan = {
        ...guestPlan(guest, layout.slots),
        vcpus: work.map(({ obj, batch }) => ({ obj, words: batch.words })),
      };
      const keep = (rows: readonly ExecutedBatch[]): void => {
        const merged = mergeByStart(
          rows,
          work.map(({ batch }) => batch.details),
        );
        take(merged.rows, merged.details);
        rows.forEach((row, i) => (total.requests += row.stopped ? 0 : (work[i]?.requests ?? 0)));
      };
      try {
        keep(await session.runGuest(plan, pacing));
      } catch (error) {
        keep(batchesOf(error));
        throw new CvmtraceError(
          'CRASHED',
          `the guest broke down: ${error instanceof Error ? error.message : String(error)}`,
          {
            hint: 'what had run by then is in the .partial trace; dmesg may say more',
            cause: error,
          },
        );
      }
      options.onProgress?.(total.requests);
    }
    return { ...total, interrupted: interrupted() };
  } finally {
    signal?.removeEventListener('abort', cancel);
    await session.close();
  }
}

function fill(
  vcpu: Vcpu,
  apply: ((request: GuestRequest, batch: OpBatch) => void) | undefined,
): { readonly batch: OpBatch; readonly requests: number } {
  const batch = new OpBatch(BATCH_OPS);
  let requests = 0;
  while (!vcpu.done && batch.count < BATCH_OPS) {
    const next = vcpu.requests.next();
    if (next.done === true) vcpu.done = true;
    else {
      apply?.(next.value, batch);
      requests++;
    }
  }
  return { batch, requests };
}

/** What a failed run of a guest had done (`GuestError`). */
function batchesOf(error: unknown): readonly ExecutedBatch[] {
  return error instanceof Error && 'batches' in error && Array.isArray(error.batches)
    ? (error.batches as ExecutedBatch[])
    : [];
}
