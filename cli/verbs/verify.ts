import { sniffTraceKind, verifyTrace, type Verification } from '../../capture/trace/index.ts';
import { CvmtraceError } from '../../native/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCount, formatCountOf } from '../format-count.ts';
import { printable } from '../printable.ts';
import type { Style } from '../style.ts';
import { defineVerb } from '../verb.ts';
import { verifyParquet } from '../verify-parquet.ts';

type Verified = { readonly path: string } & Pick<
  Verification,
  'ok' | 'problems' | 'problemCount' | 'rows' | 'batches' | 'sizeBytes' | 'lostEvents'
>;

/** Of the problems of one trace, a person is shown so many. */
const SHOWN_PROBLEMS = 10;

export const verifyVerb = defineVerb<object>({
  name: 'verify',
  summary: 'check that traces are whole and sound',
  details: `\
Reads every byte: structure, footer, buffers, row counts, dictionary, order of rows, metadata against its schema, and the row that ends a trace.
Exits with 65 if one of them is bad, after having looked at all.`,
  examples: [
    ['cvmtrace verify boot.arrow', 'one trace'],
    ['cvmtrace verify --quiet *.arrow > /dev/null && echo sound', 'in a script'],
  ],
  declare: (command) => command.argument('<trace...>', 'traces, Arrow or Parquet'),
  run: async (context, paths) => {
    const traces: Verified[] = [];
    let unreadable: CvmtraceError | undefined;
    for (const path of paths) {
      context.signal.throwIfAborted();
      try {
        traces.push({
          path,
          ...(sniffTraceKind(path) === 'parquet' ? await verifyParquet(context, path) : verifyTrace(path)),
        });
      } catch (error) {
        // The others are still worth looking at.
        if (!(error instanceof CvmtraceError) || error.code === 'INTERRUPTED') throw error;
        unreadable ??= error;
      }
    }
    await context.output.result({ traces }, () => traces.map((trace) => render(trace, context.style)).join(''));
    const bad = traces.filter((trace) => !trace.ok);
    if (bad.length > 0) throw unsound(bad, paths.length);
    if (unreadable) throw unreadable;
    return ExitStatus.done;
  },
});

function unsound(bad: readonly Verified[], of: number): CvmtraceError {
  const [first] = bad;
  const path = first?.path ?? '';
  const torn = first?.problems.some(({ kind }) => kind === 'truncated') === true;
  return new CvmtraceError(
    'BAD_INPUT',
    of === 1 ? `${path} is not sound` : `not sound: ${bad.length} of ${of} traces, the first is ${path}`,
    {
      hint: torn
        ? `save its whole batches: cvmtrace recover ${path} -o OUT`
        : 'capture it again, or restore it from a copy',
    },
  );
}

function render(trace: Verified, style: Style): string {
  const path = printable(trace.path);
  if (trace.ok && trace.problemCount === 0) {
    const lost = trace.lostEvents === 0 ? '' : `, ${formatCountOf(trace.lostEvents, 'event')} lost in capture`;
    return `${path}: ${style.good('sound')}, ${formatCountOf(trace.rows, 'row')}, ${formatBytes(trace.sizeBytes)}${lost}\n`;
  }
  const shown = trace.problems.slice(0, SHOWN_PROBLEMS).map(({ severity, message, row }) => {
    const where = row === undefined ? '' : ` (row ${row})`;
    return `  ${severity}: ${printable(message)}${where}\n`;
  });
  const more = trace.problemCount - shown.length;
  const verdict = trace.ok ? style.good('sound, with warnings') : style.bad('not sound');
  return `${path}: ${verdict}\n${shown.join('')}${more > 0 ? `  and ${formatCount(more)} more\n` : ''}`;
}
