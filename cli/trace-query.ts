import type { Analysis } from '../analyze/index.ts';

/** A query of the rows of one trace in the order of seq, with the columns of the file that it came from. */
export async function traceQuery(analysis: Analysis, trace: number): Promise<string> {
  // Most files are in order; to look costs less than a tenth of what sorting would. lag_ns is there in paced runs only.
  const { rows } = await analysis.query(
    `select coalesce(bool_or(seq < before), false), count(lag_ns) > 0
     from (select seq, lag_ns, lag(seq) over () as before from events where trace = ${trace})`,
  );
  const [unordered, paced] = rows[0] ?? [];
  const columns = `* exclude (trace${paced === true ? '' : ', lag_ns'})`;
  return `select ${columns} from events where trace = ${trace}${unordered === true ? ' order by seq' : ''}`;
}
