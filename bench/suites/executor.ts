import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CvmtraceError, loadNative, PACKAGE_ROOT } from '../../native/index.ts';
import { type Interval, medianInterval } from '../stats/interval.ts';
import { type Metric, type Suite, withInterval } from './suite.ts';

const run = promisify(execFile);
const NATIVE = join(PACKAGE_ROOT, 'native');

/** A kind of call, explained in `native/core/bench_loop.h`. */
interface Kind {
  readonly name: string;
  /** Calls a round: touching a page, before the calls that are timed, takes a hundred times as long as calling for it. */
  readonly calls: number;
  readonly needsGuestMemfd?: true;
  /** Most that the executor may take, as a multiple of the loop. */
  readonly ratioLimit?: number;
}

const KINDS: readonly Kind[] = [
  { name: 'madvise', calls: 100_000 },
  { name: 'gmem-allocate4k', calls: 100_000, needsGuestMemfd: true },
  { name: 'gmem-punch4k', calls: 20_000, needsGuestMemfd: true, ratioLimit: 1.05 },
  { name: 'ram-punch4k', calls: 20_000 },
];

/** ns per call, one value a round. */
interface Times {
  /** The calls alone, the clock read before the first and after the last. */
  readonly loop: readonly number[];
  /** The executor's job written by hand: the clock read around each call, start, duration and result kept. */
  readonly timingLoop: readonly number[];
  readonly executor: readonly number[];
}

export const executorSuite: Suite = {
  name: 'executor',
  summary: 'an executed and timed operation against the same loop written in C',
  async run({ quick, signal, onProgress }) {
    const hasGuestMemfd = loadNative().probeHost().attempts['gmem.touch']?.errno === 0;
    await buildProgram(signal);
    const rounds = quick ? 7 : 25;
    const metrics: Metric[] = [];
    for (const kind of KINDS) {
      if (kind.needsGuestMemfd && !hasGuestMemfd) continue;
      onProgress?.(`${kind.name}, ${rounds} rounds`);
      const calls = quick ? kind.calls / 5 : kind.calls;
      const { stdout } = await run(join(NATIVE, 'build', 'bench_executor'), [kind.name, `${calls}`, `${rounds}`], {
        signal,
      });
      metrics.push(...metricsOf(kind, JSON.parse(stdout) as Times));
    }
    return {
      setup:
        `${rounds} rounds in turns in one process, each side on a thread of its own, batches of 8192 for the executor; the timing C loop does the ` +
        "executor's job by hand (the clock read around each call, start, duration and result kept), the bare one only calls; punched pages were " +
        'written through a mapping before' +
        (hasGuestMemfd ? '' : '; without gmem-*, as this host has no guest_memfd that can be mapped'),
      metrics,
    };
  },
};

function metricsOf({ name, ratioLimit }: Kind, { loop, timingLoop, executor }: Times): Metric[] {
  const plain = (side: string, values: readonly number[]): Metric => ({
    metric: `${name}: ${side}`,
    ...withInterval(medianInterval(values)),
    unit: 'ns/op',
    better: 'lower',
  });
  const against = (side: string, base: readonly number[]): Metric[] => {
    const beside = (combine: (executor: number, loop: number) => number): Interval =>
      medianInterval(executor.map((value, round) => combine(value, base[round] ?? NaN)));
    return [
      {
        metric: `${name}: executor - ${side}`,
        ...withInterval(beside((value, of) => value - of)),
        unit: 'ns/op',
        better: 'lower',
        limit: { op: '<=', value: 60 },
      },
      {
        metric: `${name}: executor / ${side}`,
        ...withInterval(beside((value, of) => value / of)),
        unit: 'x',
        better: 'lower',
        ...(ratioLimit !== undefined && { limit: { op: '<=', value: ratioLimit } as const }),
      },
    ];
  };
  return [
    plain('bare C loop', loop),
    plain('timing C loop', timingLoop),
    plain('executor', executor),
    ...against('timing C loop', timingLoop),
    ...against('bare C loop', loop),
  ];
}

/** Compiles `native/build/bench_executor`, of the same objects as the addon. */
async function buildProgram(signal: AbortSignal): Promise<void> {
  try {
    await run('make', ['-s', '-C', NATIVE, 'bench-executor'], { signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new CvmtraceError('UNAVAILABLE', 'the C loop cannot be built', { hint: 'install make, gcc and g++', cause });
  }
}
