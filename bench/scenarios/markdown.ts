import { markdownTable } from '../../capture/markdown-table.ts';
import { formatParameter } from '../../capture/workloads/parameter.ts';
import { SCENARIOS } from './index.ts';

/** The scenarios as a table for the README. */
export function scenarioTable(): string {
  const rows = SCENARIOS.map(({ name, summary, source, needs, dma, parameters }) => [
    `\`${name}\``,
    summary,
    source,
    needs,
    dma.map((value) => `\`${value}\``).join(' '),
    parameters.map((parameter) => `\`${parameter.name}=${formatParameter(parameter, parameter.default)}\``).join(' '),
  ]);
  return markdownTable(['scenario', 'what it is', 'what it re-enacts', 'needs', '--dma', 'parameters'], rows);
}
