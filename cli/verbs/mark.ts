import { sendMark } from '../../capture/record/control.ts';
import { ExitStatus } from '../exit-status.ts';
import { countOption } from '../option-values.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface MarkOptions {
  readonly recording?: number;
}

export const markVerb = defineVerb<MarkOptions>({
  name: 'mark',
  summary: 'begin a phase in a recording that is going on',
  details: `The phase begins when this is called, and lasts until the next mark or the end. In a command that is being recorded the mark is for that
recording; elsewhere for the only one that the same user has.`,
  examples: [
    ['cvmtrace mark boot', 'inside the recorded command, or beside it'],
    ['cvmtrace mark "migration begins" --recording 4711', 'one of several recordings'],
  ],
  declare: (command) =>
    command
      .argument('<name>', 'name of the phase')
      .option('--recording <pid>', 'process of the cvmtrace record that is meant', countOption('--recording', 1)),
  run,
});

async function run(context: VerbContext, [name = '']: readonly string[], { recording }: MarkOptions): Promise<number> {
  const tsNs = process.hrtime.bigint();
  const { pid, out } = await sendMark(context.io.env, name, tsNs, recording);
  await context.output.result({ name, tsNs, recording: pid, out }, () => `marked "${name}" in ${out}`);
  return ExitStatus.done;
}
