/** A comparison as one row per group, for CSV. */
import type { ComparedGroup, ComparedMeasure, CompareReport } from '../bench/compare/comparison.ts';
import { MEASURES } from '../bench/compare/measures.ts';
import type { RowColumn, RowSource } from './format-rows.ts';

const OF_MEASURE: readonly (readonly [suffix: string, value: (compared: ComparedMeasure) => unknown])[] = [
  ['a_ns', (compared) => compared.aNs],
  ['b_ns', (compared) => compared.bNs],
  ['ratio', (compared) => compared.ratio],
  ['low', (compared) => compared.low],
  ['high', (compared) => compared.high],
  ['p', (compared) => compared.p],
  ['p_adjusted', (compared) => compared.pAdjusted],
  ['noise', (compared) => compared.noise],
  ['verdict', (compared) => compared.verdict],
  ['why', (compared) => compared.why],
];

const OF_GROUP: readonly (readonly [name: string, value: (group: ComparedGroup) => unknown])[] = [
  ['kind', (group) => group.kind],
  ['phase', (group) => group.phase],
  ['occurrence', (group) => group.occurrence],
  ['name', (group) => group.name],
  ['size', (group) => group.size],
  ['a_traces', (group) => group.a?.traces ?? 0],
  ['b_traces', (group) => group.b?.traces ?? 0],
  ['a_count', (group) => group.a?.count ?? 0],
  ['b_count', (group) => group.b?.count ?? 0],
  ['a_errors', (group) => group.a?.errors ?? 0],
  ['b_errors', (group) => group.b?.errors ?? 0],
];

/** The columns of a measure begin with its name: `p50_a_ns` ... They are empty where a side has none of the group. */
export function compareRows({ groups }: CompareReport): RowSource {
  const names = [
    ...OF_GROUP.map(([name]) => name),
    ...MEASURES.flatMap((measure) => OF_MEASURE.map(([suffix]) => `${measure}_${suffix}`)),
  ];
  const rows = groups.map((group) => [
    ...OF_GROUP.map(([, value]) => value(group)),
    ...MEASURES.flatMap((measure) =>
      OF_MEASURE.map(([, value]) => {
        const compared = group.measures[measure];
        return compared ? value(compared) : null;
      }),
    ),
  ]);
  return { columns: names.map((name): RowColumn => ({ name, type: 'VARCHAR' })), batches: oneBatch(rows) };
}

// eslint-disable-next-line @typescript-eslint/require-await -- a RowSource hands its rows on as they come, and these are all here
async function* oneBatch(rows: readonly (readonly unknown[])[]): AsyncGenerator<readonly (readonly unknown[])[]> {
  yield rows;
}
