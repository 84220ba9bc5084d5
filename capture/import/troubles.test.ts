import { expect, it } from 'vitest';
import { Troubles } from './troubles.ts';

it('counts by kind, keeps the first lines, and puts what could not be used first', () => {
  const troubles = new Troubles();
  for (let line = 1; line <= 9; line++) troubles.skip('other line', line);
  for (const line of [3, 17, 90, 91]) troubles.add('cut line', line);
  troubles.lineNumber = 5;
  troubles.add('bad number');
  expect(troubles.kinds()).toEqual([
    { kind: 'cut line', skipped: false, count: 4, lines: [3, 17, 90] },
    { kind: 'bad number', skipped: false, count: 1, lines: [5] },
    { kind: 'other line', skipped: true, count: 9, lines: [1, 2, 3] },
  ]);
});

it('counts kinds together when there are too many', () => {
  const troubles = new Troubles();
  for (let kind = 0; kind < 100; kind++) troubles.add(`kind ${kind}`, kind);
  expect(troubles.kinds()).toHaveLength(64);
  expect(troubles.kinds()[0]).toEqual({ kind: 'other kinds', skipped: false, count: 37, lines: [63, 64, 65] });
});
