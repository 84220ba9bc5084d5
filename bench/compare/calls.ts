/** One trace against another: the calls of a group are the sample. Reads the histograms of both once, in ascending order. */
import type { Analysis } from '../../analyze/index.ts';
import {
  drawRanks,
  quantileRank,
  RankLookup,
  ratioInterval,
  resamplers,
  type RatioInterval,
} from '../stats/bootstrap.ts';
import { RankComparison, type RankTest } from '../stats/mann-whitney.ts';
import type { Group } from './groups.ts';

export interface CallComparison {
  /** Null where a trace has fewer than two calls of a known duration. */
  readonly p50: RatioInterval | null;
  readonly p99: RatioInterval | null;
  readonly test: RankTest | undefined;
}

/**
 * Compares the groups that both traces have with times, by their id.
 * @throws CvmtraceError as `Analysis.query`.
 */
export async function compareCalls(
  analysis: Analysis,
  groups: readonly Group[],
  a: number,
  b: number,
): Promise<ReadonlyMap<number, CallComparison>> {
  const timed = new Map(groups.flatMap((group) => (group.id === null ? [] : [[group.id, group] as const])));
  const done = new Map<number, CallComparison>();
  let at: { readonly id: number; readonly reader: GroupReader } | undefined;
  const finish = (): void => {
    if (at) done.set(at.id, at.reader.result());
  };
  const stream = await analysis.stream(
    `select id::double, ns::double, coalesce(sum(n) filter (where trace = ${a}), 0)::double, coalesce(sum(n) filter (where trace = ${b}), 0)::double
     from _compare_histogram where ns is not null and trace in (${a}, ${b}) group by id, ns order by id, ns`,
  );
  for await (const { rows, columns } of stream) {
    const [ids, times, countsA, countsB] = columns.map(({ values }) => values as Float64Array);
    for (let row = 0; row < rows; row++) {
      const id = ids?.[row] ?? 0;
      if (at?.id !== id) {
        finish();
        const runs = timed.get(id)?.runs;
        at = { id, reader: new GroupReader(runs?.get(a)?.timed ?? 0, runs?.get(b)?.timed ?? 0) };
      }
      at.reader.add(times?.[row] ?? 0, countsA?.[row] ?? 0, countsB?.[row] ?? 0);
    }
  }
  finish();
  return done;
}

/** Takes the distinct durations of a group in ascending order. */
class GroupReader {
  readonly #ranks = new RankComparison();
  /** For each quantile what is looked up in A and in B. */
  readonly #quantiles: readonly { readonly a: RankLookup; readonly b: RankLookup }[];

  /** @param timedA how many durations there will be in A, and B */
  constructor(timedA: number, timedB: number) {
    this.#quantiles =
      timedA < 2 || timedB < 2
        ? []
        : [50, 99].map((percent) => {
            const { a, b } = resamplers();
            return {
              a: new RankLookup(drawRanks(a, timedA, quantileRank(timedA, percent))),
              b: new RankLookup(drawRanks(b, timedB, quantileRank(timedB, percent))),
            };
          });
  }

  add(ns: number, inA: number, inB: number): void {
    this.#ranks.add(inA, inB);
    for (const { a, b } of this.#quantiles) {
      a.add(ns, inA);
      b.add(ns, inB);
    }
  }

  result(): CallComparison {
    const [p50 = null, p99 = null] = this.#quantiles.map(({ a, b }) => ratioInterval(a.values, b.values));
    return { p50, p99, test: this.#ranks.test() };
  }
}
