import { CvmtraceError } from '../../native/index.ts';
import type { ClockInfo } from '../trace/metadata.ts';

const CLOCK_REALTIME = 'CLOCK_REALTIME';

/** Short names that ftrace's trace_clock and perf's -k have for the clocks of clock_gettime(2). */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  mono: 'CLOCK_MONOTONIC',
  monotonic: 'CLOCK_MONOTONIC',
  mono_raw: 'CLOCK_MONOTONIC_RAW',
  monotonic_raw: 'CLOCK_MONOTONIC_RAW',
  boot: 'CLOCK_BOOTTIME',
  boottime: 'CLOCK_BOOTTIME',
  tai: 'CLOCK_TAI',
  realtime: CLOCK_REALTIME,
};

/** The clock's name as traces have it; what is no clock of clock_gettime(2) ("local", "x86-tsc") stays as it is. */
export function clockName(given: string): string {
  const upper = given.toUpperCase();
  return SHORT_NAMES[given.toLowerCase()] ?? (upper.startsWith('CLOCK_') ? upper : given);
}

/** The clock of a trace whose ts_ns = 0 is `baseNs` of clock `name`. */
export function clockInfo(name: string, baseNs: bigint | null): ClockInfo {
  return {
    name,
    baseNs: baseNs === null ? null : String(baseNs),
    wallOffsetNs: name === CLOCK_REALTIME ? '0' : null,
  };
}

/**
 * The time of clock `name` that is ts_ns = 0 of the trace `path`, whose clock is `other`.
 * @param offsetGiven the user says by --clock-offset how far the clocks are apart
 * @throws CvmtraceError USAGE if the two clocks have nothing to do with each other.
 */
export function alignedBase(name: string, other: ClockInfo, path: string, offsetGiven: boolean): bigint {
  if (other.baseNs === null) {
    throw new CvmtraceError('USAGE', `${path} does not say what its times count from`, {
      path,
      hint: 'align to a trace that was recorded, or imported from a log with times',
    });
  }
  const baseNs = BigInt(other.baseNs);
  if (name === other.name && isKept(name)) return baseNs;
  if (name === CLOCK_REALTIME && other.wallOffsetNs !== null) return baseNs + BigInt(other.wallOffsetNs);
  if (offsetGiven) return baseNs;
  throw new CvmtraceError(
    'USAGE',
    `times of the clock "${name}" cannot be put on the base of ${path}, whose clock is "${other.name}"`,
    { path, hint: HINT },
  );
}

/** Whether two sources that name this clock mean the same one. */
function isKept(name: string): boolean {
  return name.startsWith('CLOCK_') || name === 'ftrace local';
}

const HINT =
  "record the log with one clock (ftrace: echo mono > trace_clock; perf: -k CLOCK_MONOTONIC; strace: -ttt) and name it with --clock where the log does not; or give the offset of the log's clock with --clock-offset";
