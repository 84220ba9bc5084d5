import { recoverTrace } from '../../capture/trace/recover.ts';
import { CvmtraceError } from '../../native/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCountOf } from '../format-count.ts';
import { defineVerb } from '../verb.ts';

interface RecoverOptions {
  readonly out: string;
  readonly force: boolean;
}

export const recoverVerb = defineVerb<RecoverOptions>({
  name: 'recover',
  summary: 'make a trace of what a crash left',
  details: `\
Keeps every whole and valid batch, and says what it had to leave behind. The result opens like any trace, and every report of it goes on saying
that its capture was cut off. The input stays as it is.`,
  examples: [['cvmtrace recover boot.arrow.partial -o boot.arrow', 'after a crash or a kill']],
  declare: (command) =>
    command
      .argument('<partial>', 'the NAME.partial of a capture that did not end, or a torn copy of a trace')
      .requiredOption('-o, --out <out>', 'trace to write')
      .option('--force', 'overwrite OUT', false),
  run: async ({ output }, [partial = ''], { out, force }) => {
    if (out === '-') {
      throw new CvmtraceError('USAGE', 'a trace cannot be recovered to standard output', {
        hint: 'name a file: -o OUT',
      });
    }
    const recovered = recoverTrace(partial, out, { force });
    if (recovered.damagedBatches > 0) {
      output.warn(
        `left behind, as values in them are damaged: ${formatCountOf(recovered.damagedBatches, 'batch', 'batches')}`,
      );
    }
    await output.result(
      { of: partial, ...recovered },
      () =>
        `${out}: ${formatCountOf(recovered.rows, 'row')} in ${formatCountOf(recovered.batches, 'batch', 'batches')} recovered, ` +
        `${formatBytes(recovered.bytesDropped)} of ${partial} dropped (${recovered.reason})`,
    );
    return ExitStatus.done;
  },
});
