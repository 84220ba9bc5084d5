/** Sections of headings, tables and sentences: as text for a terminal, or as Markdown for a mail or a pull request. */
import { markdownTable } from '../capture/markdown-table.ts';
import { formatTable, type Column } from './format-table.ts';
import { printable } from './printable.ts';
import type { Style } from './style.ts';

/** How headings, sentences and tables are written; each ends with its line. */
export interface Page {
  /** Between a table and the sentences below it. */
  readonly gap: string;
  readonly heading: (title: string) => string;
  readonly lines: (texts: readonly string[]) => string;
  readonly table: (columns: readonly Column[], rows: readonly (readonly string[])[]) => string;
}

export function textPage(style: Style): Page {
  return {
    heading: (title) => `${style.heading(title)}\n`,
    gap: '',
    lines: (texts) => texts.map((text) => `  ${printable(text)}\n`).join(''),
    table: ([first, ...columns], rows) =>
      rows.length === 0
        ? ''
        : formatTable(
            [{ ...first, title: `  ${first?.title ?? ''}` }, ...columns],
            rows.map(([cell, ...cells]) => [`  ${cell ?? ''}`, ...cells]),
          ),
  };
}

export const MARKDOWN_PAGE: Page = {
  heading: (title) => `### ${escape(title)}\n\n`,
  gap: '\n',
  lines: (texts) => texts.map((text) => `- ${escape(text)}\n`).join(''),
  table: (columns, rows) =>
    rows.length === 0
      ? ''
      : `${markdownTable(
          columns.map(({ title = '' }) => title),
          rows.map((row) => row.map(escape)),
        )}\n`,
};

/** Names come from traces: they must not become HTML, links or code. */
function escape(text: string): string {
  return printable(text).replace(/[\\`*_[\]<>&~]/g, '\\$&');
}
