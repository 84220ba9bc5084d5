import { Option } from 'commander';
import {
  analyzeTrace,
  DEFAULT_LIMITS,
  HAZARD_KINDS,
  keepReport,
  keptReport,
  type HazardLimits,
  type Report,
} from '../../analyze/index.ts';
import { CvmtraceError } from '../../native/index.ts';
import { CACHE_DETAILS, declareCache, Opening, type CacheOption } from '../cache-option.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatReport } from '../format-report.ts';
import { countOption, sizeOption } from '../option-values.ts';
import { closeOnEnd, warnIfTruncated } from '../open-traces.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface AnalyzeOptions extends CacheOption {
  readonly failOn?: readonly string[];
  readonly doublyHeld?: number;
  readonly dmaEntries: number;
}

const SEVERITIES = ['error', 'warning', 'note'] as const;

/** What `--fail-on` takes: kinds, and severities that stand for themselves and what is worse. */
const FAIL_ON: readonly string[] = [...HAZARD_KINDS, ...SEVERITIES];

export const analyzeVerb = defineVerb<AnalyzeOptions>({
  name: 'analyze',
  summary: 'report on a trace: what is wrong in it, what it cost, what memory was held',
  details: `\
Hazards: what is wrong or dangerous, each with the rows that prove it. By phase: conversions and where the vCPUs' stall went. Latency by operation and size. The ten most expensive ranges. How often memory changed
sides, and what was held on which side over time. What was lost, and what the host left out.

Hazards that --fail-on names give exit status 1; a severity stands for itself and all that is worse:
  ${wrapped(HAZARD_KINDS)}

Numbers of a stand-in, of an emulated host or of a generated trace say so in their heading.

${CACHE_DETAILS}`,
  examples: [
    ['cvmtrace analyze boot.arrow', 'the report'],
    ["cvmtrace analyze --json boot.arrow | jq '.phases[] | {name, stallNs}'", 'stall by phase, for a script'],
    ['cvmtrace analyze --fail-on stale_mapping,error boot.arrow', 'a check for CI'],
  ],
  declare: (command) =>
    declareCache(
      command
        .argument('<trace>', 'trace, Arrow or Parquet')
        .option(
          '--fail-on <kinds>',
          'exit status 1 if one of these hazards is found: kinds, error, warning, note',
          kindsOption,
        )
        .option(
          '--doubly-held <size>',
          "memory held on both sides that is too much (default: a quarter of the guest's)",
          sizeOption('--doubly-held'),
        )
        .addOption(
          new Option('--dma-entries <percent>', 'share of dma_entry_limit that is near it')
            .argParser(countOption('--dma-entries', 1))
            .default(DEFAULT_LIMITS.dmaEntryShare * 100, '90'),
        ),
    ),
  run: async (context, [path = ''], options) => {
    const report = await reportOn(context, path, options);
    await context.output.result(report, () => formatReport(report, context.style, context.io.stdout.columns));
    return options.failOn ? judge(report, options.failOn) : ExitStatus.done;
  },
});

function judge({ hazards, notes }: Report, failOn: readonly string[]): number {
  if (hazards === null) throw new CvmtraceError('UNAVAILABLE', `there is nothing to judge: ${notes.join('; ')}`);
  const worst = Math.max(...SEVERITIES.map((severity, rank) => (failOn.includes(severity) ? rank : -1)));
  const found = hazards.some(({ kind, severity }) => failOn.includes(kind) || SEVERITIES.indexOf(severity) <= worst);
  return found ? ExitStatus.finding : ExitStatus.done;
}

function kindsOption(text: string): readonly string[] {
  const kinds = text.split(',');
  const wrong = kinds.find((kind) => !FAIL_ON.includes(kind));
  if (wrong === undefined) return kinds;
  throw new CvmtraceError('USAGE', `--fail-on: "${wrong}" is no kind of hazard`, {
    hint: `one or more of ${FAIL_ON.join(', ')}`,
  });
}

function wrapped(words: readonly string[]): string {
  const lines = [''];
  for (const word of words) {
    const line = lines.at(-1) ?? '';
    if (line.length + word.length > 90) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line}, ${word}`;
  }
  return lines.join(',\n  ');
}

/** The report on the trace as it is now, from the cache if it was made before. */
async function reportOn(context: VerbContext, path: string, options: AnalyzeOptions): Promise<Report> {
  const opening = new Opening(context, options);
  const limits: HazardLimits = { doublyHeldBytes: options.doublyHeld ?? null, dmaEntryShare: options.dmaEntries / 100 };
  const isDefault = limits.doublyHeldBytes === null && limits.dmaEntryShare === DEFAULT_LIMITS.dmaEntryShare;
  try {
    const kept = isDefault && opening.use && (await keptReport(path, opening.use));
    if (kept) {
      warnIfTruncated(context, kept.header);
      return kept;
    }
    const report = await closeOnEnd(context, await opening.open([path]), (analysis) =>
      analyzeTrace(analysis, 0, limits),
    );
    if (isDefault && opening.use) await keepReport(report, opening.use);
    return report;
  } finally {
    opening.done();
  }
}
