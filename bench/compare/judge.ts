/** When a difference is called one. */
import { ratioOf } from '../stats/bootstrap.ts';

/** A difference is called where its p, adjusted for the number of rows, is at most this. */
export const LEVEL = 0.05;

export type Verdict =
  | 'slower'
  | 'faster'
  /** Not a difference that could be told from chance or noise, or too small to matter: `~`. */
  | 'indistinct'
  /** There is no test for it: a single value on a side, or none. */
  | 'unjudged';

/** Why a difference is not called one: the first of the conditions that it does not meet. */
export type Reason =
  /** p, adjusted for the number of rows, is above `LEVEL`. */
  | 'p'
  /** Below the effect threshold. */
  | 'effect'
  /** Not more than runs of one side differ among themselves. */
  | 'noise'
  /** The interval of the ratio has 1 in it. */
  | 'interval'
  /** The ratio points one way and the ranks the other. */
  | 'direction';

/** What is known of a difference. */
export interface Evidence {
  readonly aNs: number | null;
  readonly bNs: number | null;
  /** Of the ratio b / a, 95 %; may be Infinity. */
  readonly low: number | null;
  readonly high: number | null;
  /** Adjusted. */
  readonly p: number | null;
  /** Probability that a value of B is larger than one of A. */
  readonly shareBLarger: number | null;
  /** Ratio, at least 1, within which runs of one side are apart; null if unknown. */
  readonly noise: number | null;
}

/** @param effect least relative difference that matters: 0.05 takes b / a from 1.05 up, and from 1 / 1.05 down */
export function judge(evidence: Evidence, effect: number): { readonly verdict: Verdict; readonly why: Reason | null } {
  const { aNs, bNs, low, high, p, shareBLarger, noise } = evidence;
  if (aNs === null || bNs === null || p === null) return { verdict: 'unjudged', why: null };
  const ratio = ratioOf(aNs, bNs);
  const factor = Math.max(ratio, 1 / ratio);
  const indistinct = (why: Reason) => ({ verdict: 'indistinct', why }) as const;
  if (p > LEVEL) return indistinct('p');
  if (factor < 1 + effect || factor === 1) return indistinct('effect');
  if (noise !== null && factor <= noise) return indistinct('noise');
  if (low !== null && high !== null && low <= 1 && high >= 1) return indistinct('interval');
  if (shareBLarger !== null && (shareBLarger - 0.5) * (ratio - 1) < 0) return indistinct('direction');
  return { verdict: ratio > 1 ? 'slower' : 'faster', why: null };
}
