import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { TraceFile } from '../../capture/trace/index.ts';
import { CvmtraceError, PACKAGE_ROOT } from '../../native/index.ts';
import { type Interval, medianInterval } from '../stats/interval.ts';
import { type Metric, type Suite, withInterval } from './suite.ts';

const run = promisify(execFile);
const CLI = join(PACKAGE_ROOT, 'dist/cli/main.js');
const TARGET = join(PACKAGE_ROOT, 'native/build/bench_record_target');

/** A loop of one call, explained in `native/preload/bench_target.c`. */
interface Kind {
  readonly name: string;
  readonly what: string;
  /** A row each in a recording. */
  readonly recorded: boolean;
}

const KINDS: readonly Kind[] = [
  { name: 'kvm-cheap', what: 'recorded ioctl', recorded: true },
  { name: 'other-ioctl', what: 'ioctl of no interest', recorded: false },
  { name: 'kvm-api', what: 'ioctl of KVM that is not recorded', recorded: false },
];

/** What stands in front of the target's command line. */
interface Observer {
  readonly name: string;
  readonly command: (folder: string) => readonly string[];
  /** Calls that this one sees in a round; those that stop the target at each call get fewer. */
  readonly calls: number;
  /** Must end with 0 for the observer to be measured. */
  readonly works?: readonly string[];
}

const OBSERVERS: readonly Observer[] = [
  { name: 'bare', command: () => [], calls: 1_000_000 },
  {
    name: 'cvmtrace record',
    command: (folder) => [
      ...[process.execPath, CLI, 'record', '--quiet', '--force', '-o', join(folder, 'recording.arrow'), '--'],
    ],
    calls: 1_000_000,
  },
  {
    name: 'strace -f',
    command: (folder) => ['strace', '-f', '-o', join(folder, 'strace.txt')],
    calls: 20_000,
    works: ['strace', '-o', '/dev/null', 'true'],
  },
  {
    name: 'strace --seccomp-bpf',
    command: (folder) => [
      ...['strace', '-f', '--seccomp-bpf', '-e', 'trace=ioctl,fallocate', '-o', join(folder, 'strace.txt')],
    ],
    calls: 20_000,
    works: ['strace', '-f', '--seccomp-bpf', '-e', 'trace=ioctl', '-o', '/dev/null', 'true'],
  },
  {
    name: 'perf trace',
    command: (folder) => ['perf', 'trace', '-e', 'ioctl', '-o', join(folder, 'perf.txt'), '--'],
    calls: 50_000,
    works: ['perf', 'trace', '-e', 'ioctl', '-o', '/dev/null', '--', 'true'],
  },
];

export const recordSuite: Suite = {
  name: 'record',
  summary: 'what a recorded call costs, beside strace and perf trace; and how many a second are recorded without loss',
  async run({ quick, signal, folder: parent, onProgress }) {
    assertTarget();
    const folder = mkdtempSync(join(parent, 'record-'));
    try {
      const observers = await working(signal);
      const rounds = quick ? 3 : 11;
      const metrics: Metric[] = [];
      for (const kind of KINDS) {
        // What is slow for every call is slow for each kind of call.
        const sides = kind.recorded ? observers : observers.filter(({ name }) => !name.includes('seccomp'));
        const times = new Map<string, number[]>(sides.map(({ name }) => [name, []]));
        for (let round = 0; round < rounds; round++) {
          onProgress?.(`${kind.what}, round ${round + 1} of ${rounds}`);
          for (const observer of sides) {
            const calls = quick ? observer.calls / 10 : observer.calls;
            times.get(observer.name)?.push(await nsPerCall(observer.command(folder), kind.name, calls, signal));
          }
        }
        metrics.push(...metricsOf(kind, times));
      }
      onProgress?.('1 M calls a second');
      metrics.push(...(await sustained(quick ? 2 : 10, folder, signal)));
      return {
        setup:
          `${rounds} rounds of all sides in turns; each a process that makes one call in a loop, 1,000,000 times (under strace 20,000, perf trace ` +
          '50,000), timed by itself without its start' +
          (quick ? '; a tenth of that' : '') +
          '; the recorded ioctl is KVM_SET_USER_MEMORY_REGION2 that KVM refuses at once' +
          left(observers),
        metrics,
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

function left(observers: readonly Observer[]): string {
  const missing = OBSERVERS.filter((observer) => !observers.includes(observer)).map(({ name }) => name);
  return missing.length === 0 ? '' : `; left out, as it does not run here: ${missing.join(', ')}`;
}

function metricsOf({ what, recorded }: Kind, times: ReadonlyMap<string, readonly number[]>): Metric[] {
  const bare = times.get('bare') ?? [];
  const ours = times.get('cvmtrace record') ?? [];
  const beside = (values: readonly number[], combine: (value: number, round: number) => number): Interval =>
    medianInterval(values.map(combine));
  const metrics: Metric[] = [...times].map(([name, values]) => ({
    metric: `${what}: ${name}`,
    ...withInterval(medianInterval(values)),
    unit: 'ns/call',
    better: 'lower',
  }));
  metrics.push({
    metric: `${what}: record - bare`,
    ...withInterval(beside(ours, (value, round) => value - (bare[round] ?? NaN))),
    unit: 'ns/call',
    better: 'lower',
    limit: { op: '<=', value: recorded ? 150 : 20 },
  });
  if (!recorded) return metrics;
  for (const [name, values] of times) {
    if (name === 'bare' || name === 'cvmtrace record') continue;
    metrics.push({
      metric: `${what}: what ${name} adds / what record adds`,
      ...withInterval(
        beside(
          values,
          (value, round) => (value - (bare[round] ?? NaN)) / ((ours[round] ?? NaN) - (bare[round] ?? NaN)),
        ),
      ),
      unit: 'x',
      better: 'higher',
      ...(name.startsWith('strace') && { limit: { op: '>=', value: 500 } as const }),
    });
  }
  return metrics;
}

/** Two threads with half a million calls a second each. */
async function sustained(seconds: number, folder: string, signal: AbortSignal): Promise<Metric[]> {
  const observer = OBSERVERS.find(({ name }) => name === 'cvmtrace record');
  const output = await runTarget(
    [...(observer?.command(folder) ?? [])],
    ['kvm-cheap', `${seconds}s`, '2', '500000'],
    signal,
  );
  const file = TraceFile.open(join(folder, 'recording.arrow'));
  try {
    const lost = Number(file.end?.lostEvents ?? NaN);
    const metric = (name: string, value: number, unit: string): Metric => ({
      metric: `two threads, ${seconds} s: ${name}`,
      value,
      unit,
      better: 'neither',
    });
    return [
      { ...metric('calls', output.calls / seconds, 'calls/s'), better: 'higher', limit: { op: '>=', value: 999_000 } },
      metric('rows in the trace', file.rows, 'rows'),
      { ...metric('lost', lost, 'events'), better: 'lower', limit: { op: '<=', value: 0 } },
      { ...metric('calls without a row', output.calls - recordedRows(file), 'calls'), limit: { op: '<=', value: 0 } },
    ];
  } finally {
    file.close();
  }
}

function recordedRows(file: TraceFile): number {
  const code = file.ops.indexOf('kvm_set_user_memory_region2');
  let rows = 0;
  for (let batch = 0; batch < file.batchCount; batch++) {
    for (const op of file.readColumn(batch, 'op').data) if (op === code) rows++;
  }
  return rows;
}

interface TargetOutput {
  readonly calls: number;
  /** ns of one call: the median of batches of 64. */
  readonly p50: number;
}

async function nsPerCall(
  observer: readonly string[],
  kind: string,
  calls: number,
  signal: AbortSignal,
): Promise<number> {
  const output = await runTarget(observer, [kind, `${calls}`, '1'], signal);
  return output.p50;
}

async function runTarget(
  observer: readonly string[],
  args: readonly string[],
  signal: AbortSignal,
): Promise<TargetOutput> {
  const [command = '', ...rest] = [...observer, TARGET, ...args];
  const { stdout } = await run(command, rest, { signal });
  return JSON.parse(stdout) as TargetOutput;
}

async function working(signal: AbortSignal): Promise<readonly Observer[]> {
  const found: Observer[] = [];
  for (const observer of OBSERVERS) {
    const [command = '', ...rest] = observer.works ?? ['true'];
    const works = await run(command, rest, { signal }).then(
      () => true,
      () => false,
    );
    signal.throwIfAborted();
    if (works) found.push(observer);
  }
  return found;
}

function assertTarget(): void {
  if (!existsSync('/dev/kvm'))
    throw new CvmtraceError('UNAVAILABLE', 'there is no /dev/kvm to make cheap calls on', {
      hint: 'run it in the lab: cvmtrace lab run -- cvmtrace bench run record',
    });
  if (!existsSync(TARGET))
    throw new CvmtraceError('UNAVAILABLE', 'the program to record is not built', {
      hint: 'install make, gcc and g++, then: npm run build:native',
    });
}
