import { markdownTable } from '../markdown-table.ts';
import { formatParameter } from './parameter.ts';
import { WORKLOADS } from './registry.ts';

/** The README's table of what each workload imitates, and of its parameters with their defaults; a test compares the README with it. */
export function workloadTable(): string {
  const rows = WORKLOADS.map(({ name, summary, imitates, parameters }) => [
    `\`${name}\``,
    summary,
    imitates.what,
    imitates.source,
    parameters.map((parameter) => `\`${parameter.name}=${formatParameter(parameter, parameter.default)}\``).join(' '),
  ]);
  return markdownTable(['workload', 'what it does', 'what it imitates', 'source', 'parameters'], rows);
}
