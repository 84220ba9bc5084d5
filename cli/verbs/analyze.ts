import { analyzeTrace, openAnalysis } from '../../analyze/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatReport } from '../format-report.ts';
import { closeOnEnd } from '../open-traces.ts';
import { defineVerb } from '../verb.ts';

export const analyzeVerb = defineVerb<object>({
  name: 'analyze',
  summary: 'report on a trace: what happened, what it cost, what memory was held',
  details: `\
By phase: conversions and where the vCPUs' stall went. Latency by operation and size. The ten most expensive ranges. How often memory changed
sides, and what was held on which side over time. What was lost, and what the host left out.

Numbers of a stand-in, of an emulated host or of a generated trace say so in their heading.`,
  examples: [
    ['cvmtrace analyze boot.arrow', 'the report'],
    ["cvmtrace analyze --json boot.arrow | jq '.phases[] | {name, stallNs}'", 'stall by phase, for a script'],
  ],
  declare: (command) => command.argument('<trace>', 'trace, Arrow or Parquet'),
  run: async (context, [path = '']) => {
    const report = await closeOnEnd(context, await openAnalysis([path]), (analysis) => analyzeTrace(analysis));
    await context.output.result(report, () => formatReport(report, context.style, context.io.stdout.columns));
    return ExitStatus.done;
  },
});
