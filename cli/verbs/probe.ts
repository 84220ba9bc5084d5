import { probe, type BackendVerdict, type ProbeReport, type ProbeRow } from '../../capture/host/probe.ts';
import { CvmtraceError, loadNative, type Native } from '../../native/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatTable } from '../format-table.ts';
import { printable } from '../printable.ts';
import type { Style } from '../style.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

export const probeVerb = defineVerb<object>({
  name: 'probe',
  summary: 'say what this host can capture and replay, what is missing, and what would change that',
  details:
    'Everything is read or tried, and undone; nothing is changed. What needs the native addon is unknown where it is not built.',
  examples: [
    ['cvmtrace probe', 'this host'],
    ["cvmtrace probe --json | jq -r '.rows[] | select(.works == false) | .step'", 'what is missing, for a script'],
  ],
  declare: () => undefined,
  run: async (context) => {
    const report = probe(addon(context));
    await context.output.result(report, () => render(report, context.style, context.io.stdout.columns ?? 100));
    return ExitStatus.done;
  },
});

/** The addon, or null with a warning where there is none: most of a host can be told without it. */
function addon({ output }: VerbContext): Native | null {
  try {
    return loadNative();
  } catch (error) {
    if (!(error instanceof CvmtraceError)) throw error;
    output.warn(`${error.message}${error.hint === undefined ? '' : `: ${error.hint}`}`);
    return null;
  }
}

/** The report for people, at most `width` characters wide where words allow. */
export function render({ host, backends, rows }: ProbeReport, style: Style, width: number): string {
  const areas = [...new Set(rows.map((row) => row.area))];
  const stepWidth = Math.max(...rows.map((row) => row.step.length));
  const about = [
    `Linux ${host.kernel.release}`,
    host.cpu.model,
    `${host.cpu.logical} logical CPUs`,
    formatBytes(host.memoryBytes),
    ...(host.hypervisor === null ? [] : [`under ${host.hypervisor}`]),
    ...(host.emulated ? ['emulated'] : []),
  ];
  const parts = [
    `${printable(about.join(', '))}\n`,
    `${style.heading('backends')}\n${formatTable(
      [{ title: '  NAME' }, { title: 'STATE' }, { title: 'WITHOUT' }],
      backends.map((backend) => [`  ${backendName(backend)}`, stateOf(backend.works), backend.missing.join(', ')]),
    )}`,
    ...areas.map(
      (area) =>
        `${style.heading(printable(area))}\n${renderRows(
          rows.filter((row) => row.area === area),
          stepWidth,
          width,
        )}`,
    ),
  ];
  return parts.join('\n');
}

function backendName({ name, standIn }: BackendVerdict): string {
  return standIn ? `${name} (stand-in)` : name;
}

function renderRows(rows: readonly ProbeRow[], stepWidth: number, width: number): string {
  const stateWidth = 'missing'.length;
  const foundWidth = Math.max(30, width - stepWidth - stateWidth - 6);
  const cells = rows.flatMap((row) => [
    [`  ${row.step}`, stateOf(row.works), row.found],
    ...(row.remedy === undefined ? [] : [['', '', `to change it: ${row.remedy}`]]),
  ]);
  return formatTable([{ width: stepWidth + 2 }, { width: stateWidth }, { width: foundWidth }], cells);
}

function stateOf(works: boolean | null): string {
  if (works === null) return 'unknown';
  return works ? 'works' : 'missing';
}
