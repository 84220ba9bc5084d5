import { library, type LibraryItem, type LibraryKind, type LibraryQuery } from '../analyze/index.ts';
import { unknownName } from '../capture/unknown-name.ts';
import { formatTable } from './format-table.ts';
import type { Style } from './style.ts';

const TITLES: readonly (readonly [kind: LibraryKind, title: string])[] = [
  ['view', 'views'],
  ['table macro', 'views with a parameter'],
  ['macro', 'functions'],
  ['query', 'queries, run with --query'],
];

const NARROWEST_SUMMARY = 40;

/** Everything that the library has, by kind: name and first sentence, in at most `width` characters where words allow. */
export function formatLibrary(items: readonly LibraryItem[], style: Style, width: number): string {
  return TITLES.map(([wanted, title]) => {
    const listed = items.filter(({ kind }) => kind === wanted);
    const nameWidth = Math.max(0, ...listed.map(({ signature }) => signature.length)) + 2;
    const rows = listed.map(({ signature, summary }) => [`  ${signature}`, summary]);
    return `${style.heading(title)}\n${formatTable([{ width: nameWidth }, { width: restOf(width, nameWidth) }], rows)}`;
  }).join('\n');
}

function restOf(width: number, taken: number): number {
  return Math.max(NARROWEST_SUMMARY, width - taken - 2);
}

/** All that is known of one item. */
export function formatLibraryItem(item: LibraryItem, style: Style, width: number): string {
  const paragraph = (text: string): string =>
    text
      .split('\n')
      .map((line) => formatTable([{ width: 1 }, { width: restOf(width, 1) }], [['', line]]).replace(/^ {3}/gm, '  '))
      .join('');
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`${style.heading(title)}\n${lines.map((line) => `  ${line}\n`).join('')}`];
  const nameWidth = Math.max(0, ...item.columns.map(({ name }) => name.length)) + 2;
  const columns = formatTable(
    [{ width: nameWidth }, { width: restOf(width, nameWidth) }],
    item.columns.map(({ name, meaning }) => [`  ${name}`, meaning]),
  );
  return [
    `${style.heading(item.signature)} (${item.kind}, analyze/sql/${item.file})\n${paragraph(item.summary)}`,
    ...item.text.split('\n\n').flatMap((text) => (text === '' ? [] : [paragraph(text)])),
    ...(item.columns.length === 0 ? [] : [`${style.heading('columns')}\n${columns}`]),
    ...section('example', [item.example]),
    ...(isQuery(item)
      ? [...section('reads', item.reads), ...section('see also', item.also), ...section('cannot say', item.limits)]
      : []),
  ].join('\n');
}

/** The item of that name. @throws CvmtraceError USAGE if there is none. */
export function findLibraryItem(name: string): LibraryItem {
  const items = library();
  const found = items.find((item) => item.name === name);
  if (!found)
    throw unknownName(
      'view, macro or query',
      name,
      items.map((item) => item.name),
    );
  return found;
}

/** The documented query of that name. @throws CvmtraceError USAGE if there is none. */
export function findLibraryQuery(name: string): LibraryQuery {
  const queries = library().filter(isQuery);
  const found = queries.find((query) => query.name === name);
  if (!found)
    throw unknownName(
      'query',
      name,
      queries.map((query) => query.name),
    );
  return found;
}

function isQuery(item: LibraryItem): item is LibraryQuery {
  return item.kind === 'query';
}
