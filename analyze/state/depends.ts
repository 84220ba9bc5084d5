/** Which SQL needs some tables: that which names one of them, or a view or macro that is made of them. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { SQL_DIR } from '../db/views.ts';
import { STATE_TABLES } from './tables.ts';

let state: RegExp | undefined;
let expensive: RegExp | undefined;

/** Whether SQL needs the state tables. */
export function needsState(sql: string): boolean {
  return (state ??= dependentsOf(Object.keys(STATE_TABLES))).test(withoutTexts(sql));
}

/** Whether SQL needs what `Analysis.keepExpensive` makes. */
export function needsExpensive(sql: string): boolean {
  return (expensive ??= dependentsOf(['_conversions', ...Object.keys(STATE_TABLES)])).test(withoutTexts(sql));
}

/**
 * SQL without its comments and its texts: a trace may be called hazards.arrow. A text of one word stays, because functions take names so. Where texts
 * are written in a way that hides their end from this, all stays: what is made without need costs time, what is not made gives a wrong answer.
 */
function withoutTexts(sql: string): string {
  if (/\$\w*\$|\be'/i.test(sql)) return sql;
  // What `query` runs may be put together from parts.
  if (/\bquery(_table)?\s*\(/i.test(sql)) return Object.keys(STATE_TABLES).join(' ');
  return sql.replace(/--.*|\/\*[^]*?\*\/|"(?:[^"]|"")*"|'(?:[^']|'')*'/g, (part) => {
    if (part.startsWith('"') || /^'\w+'$/.test(part)) return part;
    return ' ';
  });
}

function dependentsOf(tables: readonly string[]): RegExp {
  const definitions = readdirSync(SQL_DIR)
    .filter((name) => name.endsWith('.sql'))
    .flatMap((name) => definitionsOf(readFileSync(join(SQL_DIR, name), 'utf8')));
  const names = new Set<string>(tables);
  for (let before = 0; before < names.size;) {
    before = names.size;
    const known = anyOf(names);
    for (const { name, body } of definitions) if (known.test(body)) names.add(name);
  }
  return anyOf(names);
}

function definitionsOf(sql: string): { readonly name: string; readonly body: string }[] {
  return sql
    .replace(/--.*$/gm, '')
    .split(';')
    .flatMap((body) => {
      const name = /create or replace (?:view|macro) (\w+)/i.exec(body)?.[1];
      return name === undefined ? [] : { name, body: body.slice(body.indexOf(name) + name.length) };
    });
}

function anyOf(names: Iterable<string>): RegExp {
  return new RegExp(`\\b(?:${[...names].join('|')})\\b`, 'i');
}
