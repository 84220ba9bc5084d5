/** How long a row may stay in memory only. */
const FLUSH_AFTER_MS = 1000;

/** Time source of the writer; a test puts its own here. */
export interface FlushClock {
  /** ms, monotonic. */
  now(): number;
  /** Calls back once after `delayMs` unless the returned function is called before; must not keep the process alive. */
  schedule(callback: () => void, delayMs: number): () => void;
}

export const SYSTEM_CLOCK: FlushClock = {
  now: () => performance.now(),
  schedule(callback, delayMs) {
    const timer = setTimeout(callback, delayMs).unref();
    return () => clearTimeout(timer);
  },
};

/** Says when the oldest row in memory must be written. */
export class FlushTimer {
  readonly #clock: FlushClock;
  readonly #onDue: () => void;
  #since: number | undefined;
  #cancel: (() => void) | undefined;

  constructor(clock: FlushClock, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** A row is in memory. No effect if one was already. */
  start(): void {
    if (this.#since !== undefined) return;
    this.#since = this.#clock.now();
    this.#cancel = this.#clock.schedule(this.#onDue, FLUSH_AFTER_MS);
  }

  /** All rows are written. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#since = undefined;
  }

  /** True if the time is up; asked at each append, because a caller that never returns to the event loop would hold the timer off. */
  isDue(): boolean {
    return this.#since !== undefined && this.#clock.now() - this.#since >= FLUSH_AFTER_MS;
  }
}
