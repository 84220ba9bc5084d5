import { statSync } from 'node:fs';
import { openAnalysis, qualifiers, textOf, type Analysis, type OpenTrace } from '../../analyze/index.ts';
import { describeMetadata } from '../describe-metadata.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCount, formatCountOf } from '../format-count.ts';
import { formatDuration } from '../format-duration.ts';
import { formatFields } from '../format-fields.ts';
import { formatTable } from '../format-table.ts';
import { closeOnEnd } from '../open-traces.ts';
import type { Style } from '../style.ts';
import { defineVerb } from '../verb.ts';

interface OperationCount {
  readonly op: string;
  readonly count: number;
  readonly failed: number;
}

interface Trouble {
  /** Kind and first lines. */
  readonly what: string;
  readonly count: bigint;
  /** True: understood, and of no interest. */
  readonly skipped: boolean;
}

/** One trace in the JSON document. */
interface TraceInfo {
  readonly path: string;
  readonly kind: 'arrow' | 'parquet';
  readonly sizeBytes: number;
  readonly rows: number;
  readonly complete: boolean;
  /** From the first start to the last end; null where no row has a time. */
  readonly spanNs: bigint | null;
  readonly lostEvents: bigint;
  readonly operations: readonly OperationCount[];
  /** What an import did not use, as `import_trouble` rows say it; the others have none. */
  readonly troubles: readonly Trouble[];
  readonly metadata: OpenTrace['metadata'];
}

export const infoVerb = defineVerb<object>({
  name: 'info',
  summary: 'say what traces are and what is in them',
  details:
    'Metadata, rows, operations by count, losses, and what the host could not do. Arrow, Parquet, and a .partial that a crash left.',
  examples: [
    ['cvmtrace info boot.arrow', 'one trace'],
    ['cvmtrace info --json *.arrow | jq ".traces[] | {path, rows, lostEvents}"', 'many, for a script'],
  ],
  declare: (command) => command.argument('<trace...>', 'traces, Arrow or Parquet'),
  run: async (context, paths) => {
    const traces = await closeOnEnd(context, await openAnalysis(paths), (analysis) =>
      Promise.all(analysis.traces.map((trace, number) => readInfo(analysis, trace, number))),
    );
    await context.output.result({ traces }, () => traces.map((trace) => render(trace, context.style)).join('\n'));
    return ExitStatus.done;
  },
});

async function readInfo(analysis: Analysis, trace: OpenTrace, number: number): Promise<TraceInfo> {
  const { path, kind, rows, complete, metadata } = trace;
  const counts = await analysis.query(
    `select op::varchar, count(*)::double, (count(*) filter (errno <> 0))::double from events where trace = ${number} group by op order by 2 desc, 1`,
  );
  const totals = await analysis.query(
    `select (max(ts_ns + coalesce(dur_ns, 0)) - min(ts_ns))::bigint, coalesce(sum(len) filter (op = 'lost'), 0)::bigint
     from events where trace = ${number}`,
  );
  const troubles = await analysis.query(
    `select detail, len::bigint, flags = 1 from events where trace = ${number} and op::varchar = 'import_trouble' order by seq`,
  );
  const [span, lost] = totals.rows[0] ?? [];
  return {
    path,
    kind,
    sizeBytes: statSync(path).size,
    rows,
    complete,
    spanNs: typeof span === 'bigint' ? span : null,
    lostEvents: typeof lost === 'bigint' ? lost : 0n,
    operations: counts.rows.map(([op, count, failed]) => ({
      op: textOf(op),
      count: Number(count),
      failed: Number(failed),
    })),
    troubles: troubles.rows.map(([what, count, skipped]) => ({
      what: textOf(what),
      count: typeof count === 'bigint' ? count : 0n,
      skipped: skipped === true,
    })),
    metadata,
  };
}

function render(info: TraceInfo, style: Style): string {
  const { major, minor } = info.metadata.format;
  const words = qualifiers(info.metadata);
  const times = words.length > 0 ? ` (${words.join(', ')})` : '';
  const fields = formatFields([
    [
      'file',
      `${info.kind === 'arrow' ? 'Arrow' : 'Parquet'}, format ${major}.${minor}, ${formatBytes(info.sizeBytes)}`,
    ],
    ['state', info.complete ? 'complete' : 'truncated: it ends with its last whole batch'],
    [
      'rows',
      `${formatCount(info.rows)}${info.spanNs === null ? ', without times' : ` over ${formatDuration(info.spanNs)}${times}`}`,
    ],
    ['lost', info.lostEvents === 0n ? 'no events' : formatCountOf(info.lostEvents, 'event')],
    ...describeMetadata(info.metadata),
    ...info.troubles.map(
      ({ what, count, skipped }) => [skipped ? 'skipped' : 'not understood', `${formatCount(count)}, ${what}`] as const,
    ),
  ]);
  const operations = formatTable(
    [{ title: '  OPERATION' }, { title: 'COUNT', align: 'right' }, { title: 'FAILED', align: 'right' }],
    info.operations.map(({ op, count, failed }) => [`  ${op}`, formatCount(count), formatCount(failed)]),
  );
  return `${style.heading(info.path)}\n${fields}\n${operations}`;
}
