/** Tables that most views are computed from and that cost more than a look at the rows: made once per analysis, and kept in a cache. */
import type { Analysis } from './analysis.ts';

/** Fills them all from the rows of the analysis' traces. */
export async function makeExpensive(analysis: Analysis): Promise<void> {
  // The view becomes a table of the same content.
  await analysis.query(
    'create or replace table _kept_conversions as from _conversions; create or replace view _conversions as from _kept_conversions',
  );
}
