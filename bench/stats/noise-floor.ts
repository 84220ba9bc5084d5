/** How far runs of one and the same side are apart when they are compared with each other as the two sides are. */
import { Random } from '../../capture/workloads/random.ts';
import { median } from './interval.ts';

/** Of more ways to halve the runs than this (more than 12 runs), a seeded sample of so many is taken. */
const MAX_WAYS = 1000;

const SEED = 2;

/**
 * Compares one half of a side's runs with the other half, for every way to halve them.
 * @returns the ratio of medians, larger over smaller, that 95 % of the ways do not exceed; null for one run, and where a run took no time
 */
export function noiseRatio(runs: readonly number[]): number | null {
  if (runs.length < 2 || runs.some((value) => !(value > 0))) return null;
  const ratios = halves(runs.length).map((half) => {
    const [one, other] = [
      median(runs.filter((_, run) => half.has(run))),
      median(runs.filter((_, run) => !half.has(run))),
    ];
    return one > other ? one / other : other / one;
  });
  ratios.sort((a, b) => a - b);
  return ratios[Math.ceil(ratios.length * 0.95) - 1] ?? null;
}

const KNOWN_HALVES = new Map<number, readonly ReadonlySet<number>[]>();

/** Ways to choose the smaller half of `count` runs. */
function halves(count: number): readonly ReadonlySet<number>[] {
  const known = KNOWN_HALVES.get(count);
  if (known) return known;
  const size = count >> 1;
  const found: ReadonlySet<number>[] = [];
  const choose = (from: number, chosen: readonly number[]): void => {
    if (found.length > MAX_WAYS) return;
    if (chosen.length === size) found.push(new Set(chosen));
    else for (let run = from; run < count; run++) choose(run + 1, [...chosen, run]);
  };
  choose(0, []);
  const random = Random.fromSeed(SEED);
  const runs = Array.from({ length: count }, (_, run) => run);
  const ways =
    found.length <= MAX_WAYS
      ? found
      : Array.from({ length: MAX_WAYS }, () => new Set(random.shuffled(runs).slice(0, size)));
  KNOWN_HALVES.set(count, ways);
  return ways;
}
