import { markdownTable } from '../../capture/markdown-table.ts';
import { libraryQueries } from './library.ts';

/** The README's table of questions and the queries that answer them; a test compares the README with it. */
export function questionTable(): string {
  return markdownTable(
    ['', 'question', '`--query`', 'beside it; what the data cannot say'],
    libraryQueries().map(({ number, summary, name, file, also, limits }) => [
      String(number),
      summary,
      `[${name}](analyze/sql/${file})`,
      [...also.map((line) => `\`${line}\``), ...limits].join(' · '),
    ]),
  );
}
