/** A benchmark: a script that measures things side by side in one run and returns numbers. Never a test: what is slow is reported, not failed. */

import type { Interval } from '../stats/interval.ts';

export interface Metric {
  readonly metric: string;
  readonly value: number;
  /** "ns", "rows/s", "x" for a ratio, "bytes" ... */
  readonly unit: string;
  readonly better: 'lower' | 'higher' | 'neither';
  /** 95 % confidence interval, where the value is of several rounds. */
  readonly low?: number;
  readonly high?: number;
  /** What the project promises, if it promises this. */
  readonly limit?: { readonly op: '<=' | '>='; readonly value: number };
}

export interface SuiteResult {
  /** How it was measured: sizes, rounds, what stands against what. */
  readonly setup: string;
  readonly metrics: readonly Metric[];
}

export interface SuiteOptions {
  /** Smaller sizes, for a look: the result says which. */
  readonly quick: boolean;
  /** Existing folder for files of the suite, absolute, on the disk that is measured; the suite removes what it makes. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onProgress?: (what: string) => void;
}

export interface Suite {
  readonly name: string;
  readonly summary: string;
  /** @throws CvmtraceError UNAVAILABLE if this host cannot run it, with the reason. */
  readonly run: (options: SuiteOptions) => Promise<SuiteResult>;
}

/** An interval in the fields of a metric. */
export function withInterval({ value, low, high }: Interval): Pick<Metric, 'value' | 'low' | 'high'> {
  return low === null || high === null ? { value } : { value, low, high };
}

/** Whether the metric keeps its promise: `undecided` if its interval reaches over the limit, null if it has none. */
export function keepsLimit({ value, low = value, high = value, limit }: Metric): 'yes' | 'no' | 'undecided' | null {
  if (!limit) return null;
  const [best, worst] = limit.op === '<=' ? [low, high] : [high, low];
  const keeps = (reached: number): boolean => (limit.op === '<=' ? reached <= limit.value : reached >= limit.value);
  if (keeps(worst)) return 'yes';
  return keeps(best) ? 'undecided' : 'no';
}
