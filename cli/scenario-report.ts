import {
  allHold,
  type Cell,
  type ReportColumn,
  type ReportTable,
  type ScenarioReport,
} from '../bench/scenarios/index.ts';
import { formatBytes } from './format-bytes.ts';
import { formatCount, formatCountOf } from './format-count.ts';
import { formatDuration } from './format-duration.ts';
import { formatTable } from './format-table.ts';
import type { Style } from './style.ts';

/** The fields of a scenario's JSON document: base units throughout, an interval as {value, low, high, runs}. */
export function scenarioFields(report: ScenarioReport): object {
  return { ...report, holds: allHold(report) };
}

/** What a scenario found out, as text. */
export function formatScenario(report: ScenarioReport, style: Style): string {
  const failed = report.checks.filter(({ ok }) => !ok).length;
  const verdict =
    failed === 0
      ? style.good(`all ${formatCountOf(report.checks.length, 'check')} hold`)
      : style.bad(`${failed} of ${formatCountOf(report.checks.length, 'check')} do not hold`);
  return [
    `${report.scenario}: ${verdict}; the trace is ${report.trace}`,
    ...report.leftOut.map((step) => `left out: ${step.step}${step.errno ? ` (${step.errno})` : ''}: ${step.reason}`),
    '',
    style.heading('Checks'),
    formatTable(
      [{}, {}, {}],
      report.checks.map(({ what, got, expected, ok }) => [
        ok ? 'ok' : 'FAILED',
        what,
        ok ? got : `${got}, expected ${expected}`,
      ]),
    ),
    ...report.tables.flatMap((table) => [
      style.heading(table.title),
      formatReportTable(table, report.emulated),
      ...table.notes.map((note) => style.dim(note)),
      '',
    ]),
  ].join('\n');
}

function formatReportTable({ columns, rows }: ReportTable, emulated: boolean): string {
  return formatTable(
    columns.map(({ title, unit }) => ({
      title: title.toUpperCase(),
      ...(unit !== 'text' && { align: 'right' as const }),
    })),
    rows.map((row) =>
      columns.map((column, index) => formatCell(row[index] ?? null, column, emulated && column.elsewhere !== true)),
    ),
  );
}

function formatCell(cell: Cell, column: ReportColumn, emulated: boolean): string {
  if (cell === null) return '-';
  if (typeof cell === 'string') return cell;
  const format = (value: number): string => formatNumber(value, column);
  // A number of an emulator says so in its own cell, so that a copied line cannot lose it.
  const words = emulated && column.unit === 'ns' ? ' emulated' : '';
  if (typeof cell === 'number') return format(cell) + words;
  const { value, low, high } = cell;
  return `${format(value)}${words}${low === null || high === null ? '' : ` (${format(low)} .. ${format(high)})`}`;
}

function formatNumber(value: number, { unit }: ReportColumn): string {
  switch (unit) {
    case 'ns':
      return formatDuration(value);
    case 'bytes':
      return formatBytes(value);
    case 'count':
      return formatCount(value);
    case 'ratio':
      return value.toPrecision(3);
    case 'text':
      return String(value);
  }
}
