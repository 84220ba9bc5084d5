import { styleText } from 'node:util';
import type { Io } from './io.ts';

/** The few styles of the output; each returns the text unchanged where colour is not wanted. */
export interface Style {
  readonly heading: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly dim: (text: string) => string;
}

/** Styles for stdout: on a terminal, unless --no-color or a non-empty NO_COLOR (no-color.org) says no. */
export function styleFor(io: Pick<Io, 'stdout' | 'env'>, colorOption: boolean): Style {
  const on = colorOption && io.stdout.isTTY === true && !io.env['NO_COLOR'] && io.env['TERM'] !== 'dumb';
  const make = (format: Parameters<typeof styleText>[0]) => (text: string) =>
    // The decision is made above, for the stream that is written to; styleText would look at process.stdout.
    on ? styleText(format, text, { validateStream: false }) : text;
  return { heading: make('bold'), good: make('green'), bad: make('red'), dim: make('dim') };
}
