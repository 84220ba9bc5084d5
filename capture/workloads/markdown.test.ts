import { describe, expect, it } from 'vitest';
import { workloadTable } from './markdown.ts';
import { WORKLOADS } from './registry.ts';

/** Cells of a Markdown table, without its head. */
const cells = (table: string) =>
  table
    .split('\n')
    .slice(2)
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));

describe('workloadTable', () => {
  it('has a row per workload, each with what it imitates and a source', () => {
    const rows = cells(workloadTable());
    expect(rows.map(([name]) => name)).toEqual(WORKLOADS.map(({ name }) => `\`${name}\``));
    for (const row of rows) {
      expect(row).toHaveLength(5);
      for (const cell of row) expect(cell).not.toBe('');
    }
  });

  it('gives defaults in the form that the command line takes', () => {
    expect(workloadTable()).toContain('`size=64M` `step=0` `touch-percent=10` `bounces=1000`');
    expect(workloadTable()).toContain('`think=125us`');
  });
});
