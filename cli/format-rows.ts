import type { Sink } from './output-file.ts';
import { formatTable } from './format-table.ts';
import { schemaName, toJson } from './json.ts';

/** A value of a query's result: bigint for integers of 64 bits and more; lists and structs are arrays and objects. */
export type CellValue = unknown;

export interface RowColumn {
  readonly name: string;
  /** DuckDB's name of the type: "UBIGINT", "VARCHAR" ... */
  readonly type: string;
}

/** A result that is read once, some rows at a time. */
export interface RowSource {
  readonly columns: readonly RowColumn[];
  readonly batches: AsyncIterable<readonly (readonly CellValue[])[]>;
}

/** One long value would push the other columns of a table off the screen. */
const MAX_CELL_CHARS = 80;

/** Text is handed on in pieces of about so many characters. */
const PIECE_CHARS = 64 * 1024;

/** Comma-separated values with a line of names (RFC 4180, with LF): null is empty, an empty text is "". */
export async function writeCsv(source: RowSource, sink: Sink): Promise<void> {
  const header = `${source.columns.map((column) => csvText(column.name)).join(',')}\n`;
  await writeLines(source, sink, header, (row) => `${row.map(csvCell).join(',')}\n`);
}

/** One JSON object per line. */
export async function writeJsonLines(source: RowSource, sink: Sink): Promise<void> {
  const object = jsonWriter(source.columns);
  await writeLines(source, sink, '', (row) => `${object(row)}\n`);
}

/** One document, `{"schema": ..., "columns": [{name, type}], "rows": [{...}], "warnings": [...]}`, written as the rows come. */
export async function writeJsonDocument(
  source: RowSource,
  sink: Sink,
  verb: string,
  warnings: readonly string[],
): Promise<void> {
  const columns = source.columns.map(({ name, type }) => ({ name, type }));
  const head = `{"schema":${toJson(schemaName(verb))},"columns":${toJson(columns)},"rows":[`;
  const object = jsonWriter(source.columns);
  let separator = '\n';
  await writeLines(source, sink, head, (row) => {
    const line = `${separator}${object(row)}`;
    separator = ',\n';
    return line;
  });
  await sink.write(`\n],"warnings":${toJson(warnings)}}\n`);
}

/**
 * A table for people. Its widths need all of its rows, so it takes no more than `maxRows`.
 * @returns whether there are more rows
 */
export async function writeTable(source: RowSource, sink: Sink, maxRows: number): Promise<{ readonly cut: boolean }> {
  const rows: string[][] = [];
  let cut = false;
  for await (const batch of source.batches) {
    const room = maxRows - rows.length;
    for (const row of batch.slice(0, room)) rows.push(row.map(tableCell));
    cut = batch.length > room;
    if (cut) break;
  }
  const columns = source.columns.map(({ name, type }) => ({
    title: name,
    align: NUMERIC.test(type) ? ('right' as const) : ('left' as const),
  }));
  await sink.write(formatTable(columns, rows));
  return { cut };
}

const NUMERIC = /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL)/;

async function writeLines(
  source: RowSource,
  sink: Sink,
  header: string,
  line: (row: readonly CellValue[]) => string,
): Promise<void> {
  let piece = header;
  for await (const batch of source.batches) {
    for (const row of batch) {
      piece += line(row);
      if (piece.length < PIECE_CHARS) continue;
      await sink.write(piece);
      piece = '';
    }
  }
  if (piece !== '') await sink.write(piece);
}

/** Writes a row as an object. By hand: two columns may have the same name, and an object would lose one of them, and the order of "1". */
function jsonWriter(columns: readonly RowColumn[]): (row: readonly CellValue[]) => string {
  const keys = columns.map(({ name }, index) => `${index === 0 ? '' : ','}${toJson(name)}:`);
  return (row) => {
    let members = '';
    keys.forEach((key, index) => (members += key + jsonValue(row[index])));
    return `{${members}}`;
  };
}

/** As `toJson`; integers, of which there are most, on a short way. */
function jsonValue(value: CellValue): string {
  if (value === null || value === undefined) return 'null';
  return typeof value === 'bigint' ? `"${value}"` : toJson(value);
}

function csvCell(value: CellValue): string {
  if (value === null || value === undefined) return '';
  const text = cellText(value);
  return text === '' ? '""' : csvText(text);
}

function csvText(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function tableCell(value: CellValue): string {
  if (value === null || value === undefined) return 'NULL';
  const text = cellText(value);
  return text.length > MAX_CELL_CHARS ? `${text.slice(0, MAX_CELL_CHARS - 1)}…` : text;
}

/** As JSON has it, without the quotes around a text or a time; a number as JavaScript has it, as JSON has no NaN and no infinity. */
function cellText(value: CellValue): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  const json = toJson(value);
  return json.startsWith('"') ? json.slice(1, -1) : json;
}
