import type { OpBatch } from '../native/index.ts';
import type { GuestRequest } from './request.ts';

/**
 * How guest requests become host operations: the interface between a session, which executes, and a strategy (bench/strategies), which decides.
 * A plan has the state of one run.
 */
export interface Plan {
  /** Appends what has to be there before the first request, after the backend's own objects. */
  setUp(batch: OpBatch): void;
  /**
   * Appends the operations that answer `request`; a conversion's are all inside its exit.
   * @throws CvmtraceError USAGE if one request would take more operations than a batch can hold.
   */
  apply(request: GuestRequest, batch: OpBatch): void;
}
