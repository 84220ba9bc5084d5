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
  readonly loop: readonly number[];
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
        `${rounds} rounds in turns in one process, each side on a thread of its own, batches of 8192 for the executor; the C loop reads the clock ` +
        'before the first and after the last call, the executor around each; punched pages were written through a mapping before' +
        (hasGuestMemfd ? '' : '; without gmem-*, as this host has no guest_memfd that can be mapped'),
      metrics,
    };
  },
};

function metricsOf({ name, ratioLimit }: Kind, { loop, executor }: Times): Metric[] {
  const beside = (combine: (executor: number, loop: number) => number): Interval =>
    medianInterval(executor.map((value, round) => combine(value, loop[round] ?? NaN)));
  return [
    { metric: `${name}: C loop`, ...withInterval(medianInterval(loop)), unit: 'ns/op', better: 'lower' },
    { metric: `${name}: executor`, ...withInterval(medianInterval(executor)), unit: 'ns/op', better: 'lower' },
    {
      metric: `${name}: executor - C loop`,
      ...withInterval(beside((value, base) => value - base)),
      unit: 'ns/op',
      better: 'lower',
      limit: { op: '<=', value: 60 },
    },
    {
      metric: `${name}: executor / C loop`,
      ...withInterval(beside((value, base) => value / base)),
      unit: 'x',
      better: 'lower',
      ...(ratioLimit !== undefined && { limit: { op: '<=', value: ratioLimit } as const }),
    },
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
