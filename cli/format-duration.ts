import { significant } from './format-bytes.ts';

const STEPS = [
  ['ns', 1],
  ['us', 1e3],
  ['ms', 1e6],
  ['s', 1e9],
] as const;

/** A duration in the largest of ns, us, ms and s that is at most it, with three significant digits: `850 ns`, `1.23 us`, `103 s`. */
export function formatDuration(durationNs: number | bigint): string {
  const ns = Number(durationNs);
  const magnitude = Math.abs(ns);
  // 999.6 us is written as 1.00 ms: the unit is chosen for the value as it is rounded.
  const rounded = Number(magnitude.toPrecision(3));
  const [unit, sizeNs] = STEPS.findLast(([, stepNs]) => rounded >= stepNs) ?? STEPS[0];
  const scaled = ns / sizeNs;
  return unit === 'ns' && Number.isInteger(ns) ? `${ns} ns` : `${significant(scaled)} ${unit}`;
}
