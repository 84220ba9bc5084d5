import { openAnalysis } from '../analyze/index.ts';
import type { Problem, Verification } from '../capture/trace/index.ts';
import { statSync } from 'node:fs';
import { closeOnEnd } from './open-traces.ts';
import type { VerbContext } from './verb.ts';

/**
 * Checks a Parquet trace: opening it has checked metadata, columns and footer; every value is decoded once, and the rows have to be dense.
 * Problems that only an Arrow file can have do not exist here.
 */
export async function verifyParquet(
  context: Pick<VerbContext, 'output' | 'signal'>,
  path: string,
): Promise<Pick<Verification, 'ok' | 'problems' | 'problemCount' | 'rows' | 'batches' | 'sizeBytes' | 'lostEvents'>> {
  return closeOnEnd(context, await openAnalysis([path]), async (analysis) => {
    const { rows } = await analysis.query(
      `select count(*) filter (seq <> place)::double, min(place) filter (seq <> place)::double,
         coalesce(sum(len) filter (op = 'lost'), 0)::double, bit_xor(everything)
       from (select seq, op, len, row_number() over () - 1 as place, hash(e) as everything from events e)`,
    );
    const [misplaced, first, lostEvents] = rows[0] ?? [];
    const problems: Problem[] = [];
    if (Number(misplaced) > 0) {
      problems.push({ kind: 'seq', severity: 'error', message: 'seq is not dense from 0', row: Number(first) });
    }
    const [trace] = analysis.traces;
    if (trace?.complete !== true) {
      problems.push({ kind: 'end', severity: 'error', message: 'there is no row trace_end: the capture was cut off' });
    }
    return {
      ok: problems.length === 0,
      problems,
      problemCount: problems.length,
      rows: trace?.rows ?? 0,
      batches: 0,
      sizeBytes: statSync(path).size,
      lostEvents: Number(lostEvents),
    };
  });
}
