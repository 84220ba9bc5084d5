import { formatDuration } from './format-duration.ts';
import { formatBytes } from './format-bytes.ts';

/** A quantity over an axis that keeps its value until the next point. */
export interface PlotSeries {
  readonly title: string;
  /** Places on the axis, ascending. */
  readonly at: readonly number[];
  /** Bytes from each place on; as long as `at`. */
  readonly values: readonly number[];
}

export interface PlotOptions {
  /** Lines of each series. Default 4. */
  readonly height?: number;
  /** Text of a length on the axis. Default: a duration in ns. */
  readonly axis?: (length: number) => string;
}

const EIGHTHS = ['', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;

/**
 * Draws each series on its own scale, one below the other over a common axis: memory held on two sides differs by orders of magnitude,
 * and on one scale the smaller would be a flat line. A column shows the highest value of its span, so that no short peak is lost, and
 * what is not zero is never drawn as zero.
 * @param width of the whole plot, characters
 */
export function formatPlot(series: readonly PlotSeries[], width: number, options: PlotOptions = {}): string {
  const { height = 4, axis: formatLength = formatDuration } = options;
  const starts = series.flatMap((one) => one.at.slice(0, 1));
  if (starts.length === 0) return '';
  const start = Math.min(...starts);
  const last = Math.max(...series.flatMap((one) => one.at.slice(-1)));
  const peaks = series.map((one) => one.values.reduce((a, b) => Math.max(a, b), 0));
  const labelWidth = Math.max(1, ...peaks.map((peak) => formatBytes(peak).length));
  const columns = Math.max(10, width - labelWidth - 2);

  const lines: string[] = [];
  series.forEach((one, index) => {
    const peak = peaks[index] ?? 0;
    lines.push(`${' '.repeat(labelWidth)}  ${one.title}`);
    const highest = binHighest(one, start, last, columns);
    for (let row = peak === 0 ? 0 : height - 1; row >= 0; row--) {
      const label = row === height - 1 ? formatBytes(peak) : row === 0 ? '0' : '';
      const cells = highest.map((value) => cell(value, peak, row, height));
      lines.push(`${label.padStart(labelWidth)} ┤${cells.join('').trimEnd()}`);
    }
  });
  const end = formatLength(last - start);
  const axis = `└${'─'.repeat(columns)}`;
  lines.push(`${' '.repeat(labelWidth + 1)}${axis}`, `${' '.repeat(labelWidth + 1)} 0${end.padStart(columns - 1)}`);
  return `${lines.join('\n')}\n`;
}

function cell(value: number, peak: number, row: number, height: number): string {
  if (value === 0 || peak === 0) return ' ';
  const eighths = Math.max(1, Math.round((value / peak) * height * 8));
  return EIGHTHS[Math.max(0, Math.min(8, eighths - row * 8))] || ' ';
}

/** The highest value that the series has in each of `columns` equal spans of time; it holds its value from one point to the next. */
function binHighest(series: PlotSeries, start: number, last: number, columns: number): number[] {
  const span = Math.max(1, last - start) / columns;
  const highest: number[] = [];
  let next = 0;
  let held = 0;
  const timeOf = (index: number): number => series.at[index] ?? Infinity;
  for (let column = 0; column < columns; column++) {
    const from = start + column * span;
    const until = column === columns - 1 ? Infinity : from + span;
    while (timeOf(next) <= from) held = series.values[next++] ?? 0;
    let peak = held;
    while (timeOf(next) < until) {
      held = series.values[next++] ?? 0;
      peak = Math.max(peak, held);
    }
    highest.push(peak);
  }
  return highest;
}
