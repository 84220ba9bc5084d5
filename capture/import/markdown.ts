import { markdownTable } from '../markdown-table.ts';
import { FORMATS } from './formats.ts';

/** The README's table of formats; a test compares the README with it. */
export function formatTable(): string {
  return markdownTable(
    ['format', 'what it is', 'how one gets it'],
    FORMATS.map(({ name, summary, madeBy }) => [`\`${name}\``, summary, madeBy]),
  );
}
