import { expect, it } from 'vitest';
import { adjustForMany } from './false-discovery.ts';

// The example of Benjamini and Hochberg (1995), section 4.1: of 15 hypotheses their procedure rejects the first four at 5 %.
const PUBLISHED = [
  0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528, 0.759, 1,
];

/** The definition: of this and every larger p, the least of p times the number of tests over its rank. */
function byDefinition(ps: readonly number[]): number[] {
  const sorted = [...ps].sort((a, b) => a - b);
  const bounds = sorted.map((p, i) => (p * ps.length) / (i + 1));
  return ps.map((p) => Math.min(1, ...bounds.slice(sorted.indexOf(p))));
}

it('rejects the four of the published example', () => {
  expect(adjustForMany(PUBLISHED).filter((p) => p !== null && p <= 0.05)).toHaveLength(4);
});

it('adjusts as the definition says, in whatever order they come', () => {
  const shuffled = PUBLISHED.map((_, i) => PUBLISHED[(i * 7) % 15] ?? NaN);
  for (const ps of [PUBLISHED, shuffled, [0.01, 0.01, 0.04]]) {
    const adjusted = adjustForMany(ps);
    byDefinition(ps).forEach((p, i) => expect(adjusted[i]).toBeCloseTo(p, 12));
  }
});

it('does not count what was not tested', () => {
  expect(adjustForMany([null, 0.02, null, 0.04])).toEqual([null, 0.04, null, 0.04]);
  expect(adjustForMany([])).toEqual([]);
});
