import type { Analysis } from '../analyze/index.ts';

/**
 * A query of the rows of one trace in the order of seq, with the columns of the format. lag_ns, which only paced runs have, is left out where it
 * says nothing, as in the file that the trace came from; with `everyColumn` it stays, so that several traces have the same columns.
 */
export async function traceQuery(
  analysis: Analysis,
  trace: number,
  { everyColumn = false }: { readonly everyColumn?: boolean } = {},
): Promise<string> {
  // Most files are in order; to look costs less than a tenth of what sorting would.
  const { rows } = await analysis.query(
    `select coalesce(bool_or(seq < before), false), count(lag_ns) > 0
     from (select seq, lag_ns, lag(seq) over () as before from events where trace = ${trace})`,
  );
  const [unordered, paced] = rows[0] ?? [];
  const columns = `* exclude (trace${everyColumn || paced === true ? '' : ', lag_ns'})`;
  return `select ${columns} from events where trace = ${trace}${unordered === true ? ' order by seq' : ''}`;
}
