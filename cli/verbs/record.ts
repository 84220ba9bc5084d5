import { basename } from 'node:path';
import { Option } from 'commander';
import { recordCommand, type RecordSummary } from '../../capture/record/record.ts';
import { formatSize } from '../../capture/size.ts';
import { CvmtraceError, loadNative } from '../../native/index.ts';
import { formatCount, formatCountOf } from '../format-count.ts';
import { formatDuration } from '../format-duration.ts';
import { sizeOption } from '../option-values.ts';
import { oneLine } from '../printable.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface RecordVerbOptions {
  readonly out?: string;
  readonly force: boolean;
  readonly ring: number;
  readonly onFull: 'block' | 'drop';
  readonly phaseFrom?: string;
}

/** 64 Ki rows: what a thread makes in 130 ms at 500 000 calls a second. */
const RING_BYTES = 8 * 2 ** 20;
const RING_LIMITS = [4096, 2 ** 30] as const;

/** Waiting for room in a ring that is worth to be said, ns. */
const LONG_WAIT_NS = 10_000_000;

export const recordVerb = defineVerb<RecordVerbOptions>({
  name: 'record',
  summary: 'run a VMM, or any command, and record its conversions and DMA mappings',
  details: `Preloads a library (LD_PRELOAD) into the command and into all that it starts. It sees the calls of KVM, guest_memfd, VFIO and iommufd that go
through libc, with their ranges, results and times; exits of a vCPU that ask for a conversion are rows that last until it runs again, and all others
are counted. Nothing of the command is changed: standard streams and exit status are its own. Processes that it leaves behind are recorded until
they end.

Statically linked and setuid programs, and programs that clear LD_PRELOAD or make system calls without libc, cannot be recorded so: record those with
strace -f -ttt -T -yy -X verbose, and cvmtrace import.

The first interrupt goes to the command, the second kills it; the trace is whole in both cases. The third leaves OUT.partial for cvmtrace recover.
If a thread's ring is full, --on-full block lets the thread wait, so that nothing is lost, and --on-full drop counts what is.
With --phase-from, standard output is a pipe to the command.

--json prints its document as the last thing on standard output, after what the command printed.`,
  examples: [
    ['cvmtrace record -o vm.arrow -- qemu-system-x86_64 -accel kvm -m 1G disk.img', 'a VM'],
    ['cvmtrace record -- ./private_mem_conversions_test', 'to private_mem_conversions_test.arrow'],
    ['cvmtrace record --phase-from "^\\[ *[0-9.]+\\] (Run /init)" -- ./start-vm.sh', 'with phases from its output'],
  ],
  declare: (command) =>
    command
      .argument('<command...>', 'what to run, after --')
      .option('-o, --out <out>', "the trace to write (default: the command's name with .arrow)")
      .option('--force', 'overwrite OUT', false)
      .addOption(
        new Option('--ring <size>', 'memory for the rows of each thread')
          .argParser(ringOption)
          .default(RING_BYTES, '8M'),
      )
      .addOption(
        new Option('--on-full <what>', 'when a ring is full: block or drop')
          .choices(['block', 'drop'])
          .default('block'),
      )
      .option('--phase-from <regex>', 'lines on standard output that begin a phase, named by the first group'),
  run,
});

async function run(context: VerbContext, argv: readonly string[], options: RecordVerbOptions): Promise<number> {
  const [command = '', ...args] = argv;
  const out = options.out ?? `${basename(command)}.arrow`;
  const { output, io } = context;
  const recorded = await recordCommand({
    native: loadNative(),
    argv: [command, ...args],
    env: io.env,
    out,
    force: options.force,
    ringBytes: options.ring,
    onFull: options.onFull,
    ...(options.phaseFrom !== undefined && { phaseFrom: patternOf(options.phaseFrom) }),
    writeStdout: (bytes) => output.write(bytes),
    commandLine: ['cvmtrace', ...context.argv],
    onStopSignal: context.takeSignals,
    onNote: (message) => output.note(message),
    onWarning: (message) => output.warn(message),
  });
  if ('status' in recorded) {
    io.stderr.write(`cvmtrace record: ${oneLine(recorded.reason)}\nhint: nothing was recorded; check the command\n`);
    return recorded.status;
  }
  for (const warning of warningsOf(recorded, options.onFull)) output.warn(warning);
  const { rows, processes, lost } = recorded;
  output.note(
    `recorded ${formatCountOf(rows, 'row')} of ${formatCountOf(processes, 'process', 'processes')}, ${formatCount(lost)} lost, ${out}`,
  );
  // Standard output is the command's.
  if (context.json) await output.result({ out, ...recorded }, () => '');
  return recorded.exitStatus;
}

function warningsOf(recorded: RecordSummary, onFull: 'block' | 'drop'): string[] {
  const warnings: string[] = [];
  const say = (count: number, text: string): void => {
    if (count > 0) warnings.push(text);
  };
  for (const { reason } of recorded.leftOut) {
    warnings.push(
      `no call was seen: ${reason}. Static programs, setuid ones, those that clear LD_PRELOAD or make system calls without libc cannot be recorded; ` +
        'trace them with strace -f -ttt -T -yy -X verbose -o LOG, and use cvmtrace import LOG -o OUT',
    );
  }
  const count = (of: number, what: string): string => `${formatCount(of)} ${what}`;
  say(
    recorded.dropped,
    `${count(recorded.dropped, 'calls')} found no room in a ring: use a larger --ring${onFull === 'drop' ? ', or --on-full block' : ''}`,
  );
  say(
    recorded.droppedWithoutSlot,
    `${count(recorded.droppedWithoutSlot, 'calls')} are lost of threads that were too many at once, or could not map their ring`,
  );
  say(recorded.unreadable, `${count(recorded.unreadable, 'calls')} could not be read: descriptors of an unknown kind`);
  say(recorded.damaged, `${count(recorded.damaged, 'records')} were damaged: the command wrote where it should not`);
  say(
    recorded.longExits,
    `${count(recorded.longExits, 'exits')} lasted over more calls than fit into memory: they have no dur_ns`,
  );
  say(
    Math.floor(recorded.blockedNs / LONG_WAIT_NS),
    `recorded threads waited ${formatDuration(recorded.blockedNs)} in all for room in a ring: use a larger --ring`,
  );
  return warnings;
}

function ringOption(text: string): number {
  const bytes = sizeOption('--ring')(text);
  const [least, most] = RING_LIMITS;
  if (bytes >= least && bytes <= most) return bytes;
  throw new CvmtraceError('USAGE', `--ring: ${text} is not from ${formatSize(least)} to ${formatSize(most)}`, {
    hint: 'a row takes 128 bytes, and each thread has a ring: 8M is the default',
  });
}

function patternOf(text: string): RegExp {
  try {
    return new RegExp(text, 'u');
  } catch (cause) {
    throw new CvmtraceError('USAGE', `--phase-from: ${cause instanceof Error ? cause.message : String(cause)}`, {
      hint: 'it is a regular expression of JavaScript',
      cause,
    });
  }
}
