import { SingleBar } from 'cli-progress';
import type { VerbContext } from './verb.ts';

export interface Progress {
  /** Sets how much of the total is done, and optionally what is being done now. */
  update(done: number, what?: string): void;
  /** Takes the bar off the terminal. */
  stop(): void;
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined };

/** A progress bar on stderr; nothing where stderr is not a terminal, or with --quiet. Stop it before printing anything. */
export function startProgress(context: Pick<VerbContext, 'io' | 'quiet'>, total: number, what: string): Progress {
  const { stderr } = context.io;
  if (context.quiet || stderr.isTTY !== true) return SILENT;
  const bar = new SingleBar({
    format: '{bar} {percentage}% {what}',
    barCompleteChar: '#',
    barIncompleteChar: '.',
    barsize: 30,
    stream: stderr,
    hideCursor: true,
    clearOnComplete: true,
    // A bar must not hide that the verb hangs, nor keep the process alive.
    noTTYOutput: false,
  });
  bar.start(total, 0, { what });
  return {
    update: (done, now) => bar.update(done, now === undefined ? {} : { what: now }),
    stop: () => bar.stop(),
  };
}
