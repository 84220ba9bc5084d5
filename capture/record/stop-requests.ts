import { setTimeout as sleep } from 'node:timers/promises';
import { CvmtraceError } from '../../native/index.ts';
import { isForegroundOfTerminal, type Target } from './target.ts';

/**
 * What a user's interrupts do to a recording. The first goes to the target, and the recording ends when it ends; if the target has ended, the
 * recording of what it left behind does. The second kills the target. The third ends cvmtrace at once.
 */
export class StopRequests {
  readonly #stopListening: () => void;
  readonly #first: Promise<void>;
  readonly #third: Promise<NodeJS.Signals>;
  #onFirst: (() => void) | undefined;
  #onThird: ((signal: NodeJS.Signals) => void) | undefined;
  #count = 0;
  #target: Target | undefined;

  constructor(onStopSignal: (listener: (signal: NodeJS.Signals) => void) => () => void) {
    this.#first = new Promise((resolve) => (this.#onFirst = resolve));
    this.#third = new Promise((resolve) => (this.#onThird = resolve));
    this.#stopListening = onStopSignal((signal) => this.#onSignal(signal));
  }

  /** Whether the user asked to stop. */
  get asked(): boolean {
    return this.#count > 0;
  }

  /** From now on signals go to the target; one that has come before does, too. */
  watch(target: Target): void {
    this.#target = target;
    void target.ended.then(() => (this.#target = undefined));
    if (this.asked) target.kill('SIGTERM');
  }

  /** Waits so long, or until the user asks. */
  async within(ms: number): Promise<void> {
    await Promise.race([sleep(ms), this.#first]);
  }

  /**
   * What `work` comes to, unless the user asks a third time: then `abort` is called.
   * @throws CvmtraceError INTERRUPTED
   */
  async orAborted<T>(work: Promise<T>, abort: () => void): Promise<T> {
    const aborted = this.#third.then((signal) => {
      abort();
      throw new CvmtraceError('INTERRUPTED', `interrupted by ${signal}`, {
        hint: 'what was recorded is in the .partial file: cvmtrace recover makes a trace of it',
      });
    });
    return Promise.race([work, aborted]);
  }

  close(): void {
    this.#stopListening();
  }

  #onSignal(signal: NodeJS.Signals): void {
    this.#count++;
    if (this.#count === 1) {
      this.#onFirst?.();
      // A terminal's interrupt went to the whole process group.
      if (signal !== 'SIGINT' || !isForegroundOfTerminal()) this.#target?.kill(signal);
    } else if (this.#count === 2) {
      this.#target?.kill('SIGKILL');
    } else {
      this.#onThird?.(signal);
    }
  }
}
