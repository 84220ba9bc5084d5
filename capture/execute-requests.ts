/**
 * Drives one session of the executor: requests go through a plan into batches of operations, rows come back.
 *
 * As fast as possible, JavaScript and the executor take turns: both share one address space, and planning or writing beside calls that unmap pages
 * made those calls take more than twice as long (measured). The time between batches is then ours and is in no span. With pauses, one batch is
 * prepared ahead, so that what is due does not wait for us.
 */
import {
  CvmtraceError,
  type ExecutedBatch,
  type ExecuteOptions,
  type Native,
  type NativeSession,
  OpBatch,
} from '../native/index.ts';
import type { Backend, MemoryLayout } from './backends/backend.ts';
import type { Plan } from './plan.ts';
import type { GuestRequest } from './request.ts';

/** Operations per batch, about: 0.6 MB of input, and a few ms of the cheapest operations. */
export const BATCH_OPS = 8192;

/** Requests of one vCPU, or of all where no guest runs, and how they are answered. */
export interface RequestStream {
  readonly plan: Plan;
  readonly requests: Iterable<GuestRequest>;
}

export interface ExecutionOptions {
  readonly native: Native;
  readonly backend: Backend;
  readonly layout: MemoryLayout;
  /** One; with a guest one per vCPU. */
  readonly streams: readonly RequestStream[];
  readonly pacing: ExecuteOptions;
  /** Called in order with the rows of each batch and the texts of those rows that have one, by row. */
  readonly onRows: (rows: ExecutedBatch, details: ReadonlyMap<number, string>) => void;
  /** Called once, before anything runs: the clock that the rows count from. */
  readonly onStart?: (clockBaseNs: bigint) => void;
  readonly onProgress?: (requestsDone: number) => void;
  /** Aborting stops at the next operation; what has run is kept. */
  readonly signal?: AbortSignal;
  /** Looks at the kernel's side of the objects between two requests, with nothing under way. */
  readonly inspect?: {
    readonly after: (requestNumber: number) => boolean;
    readonly look: (session: NativeSession, requestNumber: number) => void;
  };
}

export interface ExecutionSummary {
  readonly requests: number;
  readonly rows: number;
  readonly failures: number;
  /** ns from the first start to the last end within each batch, summed: without what this process does between batches. */
  readonly spanNs: number;
  readonly interrupted: boolean;
}

/**
 * Sets up the backend's objects, executes all requests and closes everything.
 * @throws CvmtraceError UNAVAILABLE if the set-up fails; failures after it are rows.
 */
export async function executeRequests(options: ExecutionOptions): Promise<ExecutionSummary> {
  const { native, backend, pacing, signal, inspect } = options;
  const [stream, ...more] = options.streams;
  if (!stream || more.length > 0) throw new Error('without a guest there is one stream of requests');
  const session = native.createSession();
  const interrupted = (): boolean => signal?.aborted === true;
  const cancel = (): void => session.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  const total = { requests: 0, rows: 0, failures: 0, spanNs: 0 };
  const ahead = pacing.pace === undefined || pacing.pace === 'asap' ? 0 : 1;
  const underWay: Promise<void>[] = [];

  const submit = (batch: OpBatch, how: ExecuteOptions, requests: number): void => {
    const rows = session.execute(batch.words, how).then((executed) => {
      total.rows += executed.rows;
      total.failures += executed.failures;
      total.spanNs += spanOf(executed);
      options.onRows(executed, batch.details);
      // Of a batch that was stopped nobody knows which request was the last; the rows say what ran.
      if (!executed.stopped) total.requests += requests;
      options.onProgress?.(total.requests);
    });
    // Awaited below in order; a rejection of a later one must not count as unhandled until then.
    rows.catch(() => undefined);
    underWay.push(rows);
  };
  const settle = async (atMost: number): Promise<void> => {
    while (underWay.length > atMost) await underWay.shift();
  };

  try {
    options.onStart?.(session.clockBaseNs);
    submit(setUpBatch(options), { stopAtFailure: true }, 0);
    await settle(0);
    if (total.failures > 0) throw setUpFailed(backend);
    total.spanNs = 0;

    let batch = new OpBatch(BATCH_OPS);
    let inBatch = 0;
    let number = 0;
    for (const request of stream.requests) {
      if (interrupted()) break;
      stream.plan.apply(request, batch);
      inBatch++;
      number++;
      const look = inspect?.after(number) === true;
      if (!look && batch.count < BATCH_OPS) continue;
      submit(batch, pacing, inBatch);
      batch = new OpBatch(BATCH_OPS);
      inBatch = 0;
      await settle(look ? 0 : ahead);
      if (look) inspect.look(session, number);
    }
    if (!interrupted() && batch.count > 0) submit(batch, pacing, inBatch);
    await settle(0);
    return { ...total, interrupted: interrupted() };
  } finally {
    signal?.removeEventListener('abort', cancel);
    await session.close();
  }
}

/** What has to be there before the first request. */
export function setUpBatch({ backend, layout, streams }: ExecutionOptions): OpBatch {
  const batch = new OpBatch();
  backend.setUp(batch, layout);
  streams[0]?.plan.setUp(batch);
  return batch;
}

/** ns from the first start to the end of the last row. */
export function spanOf({ rows, columns }: ExecutedBatch): number {
  if (rows === 0) return 0;
  const end = (columns.ts_ns[rows - 1] ?? 0n) + (columns.dur_ns[rows - 1] ?? 0n);
  return Number(end - (columns.ts_ns[0] ?? 0n));
}

export function setUpFailed(backend: Backend): CvmtraceError {
  return new CvmtraceError('UNAVAILABLE', `backend ${backend.name} could not make its VM and memory`, {
    hint: 'the memory may be larger than this host allows: try a smaller --memory, or cvmtrace probe',
  });
}
