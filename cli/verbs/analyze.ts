import { analyzeTrace, keepReport, keptReport, type Report } from '../../analyze/index.ts';
import { CACHE_DETAILS, declareCache, Opening, type CacheOption } from '../cache-option.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatReport } from '../format-report.ts';
import { closeOnEnd, warnIfTruncated } from '../open-traces.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

export const analyzeVerb = defineVerb<CacheOption>({
  name: 'analyze',
  summary: 'report on a trace: what happened, what it cost, what memory was held',
  details: `\
By phase: conversions and where the vCPUs' stall went. Latency by operation and size. The ten most expensive ranges. How often memory changed
sides, and what was held on which side over time. What was lost, and what the host left out.

Numbers of a stand-in, of an emulated host or of a generated trace say so in their heading.

${CACHE_DETAILS}`,
  examples: [
    ['cvmtrace analyze boot.arrow', 'the report'],
    ["cvmtrace analyze --json boot.arrow | jq '.phases[] | {name, stallNs}'", 'stall by phase, for a script'],
  ],
  declare: (command) => declareCache(command.argument('<trace>', 'trace, Arrow or Parquet')),
  run: async (context, [path = ''], options) => {
    const report = await reportOn(context, path, options);
    await context.output.result(report, () => formatReport(report, context.style, context.io.stdout.columns));
    return ExitStatus.done;
  },
});

/** The report on the trace as it is now, from the cache if it was made before. */
async function reportOn(context: VerbContext, path: string, options: CacheOption): Promise<Report> {
  const opening = new Opening(context, options);
  try {
    const kept = opening.use && (await keptReport(path, opening.use));
    if (kept) {
      warnIfTruncated(context, kept.header);
      return kept;
    }
    const report = await closeOnEnd(context, await opening.open([path]), (analysis) => analyzeTrace(analysis));
    if (opening.use) await keepReport(report, opening.use);
    return report;
  } finally {
    opening.done();
  }
}
