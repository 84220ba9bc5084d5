import { expect, test } from 'vitest';
import { Flips } from './flips.ts';

const PAGE = 4096;

test('the ranges that flipped most join what is adjacent, and come most flips first', () => {
  const flips = new Flips();
  flips.stayed(1, 0, 1024 * PAGE);
  for (let i = 0; i < 2; i++) flips.stayed(1, 510 * PAGE, 514 * PAGE);
  flips.stayed(1, 100 * PAGE, 101 * PAGE);
  // Of another VM, at the same address.
  flips.stayed(2, 101 * PAGE, 102 * PAGE);
  expect(flips.most(10)).toEqual([
    { gpa: 510 * PAGE, len: 4 * PAGE, flips: 2 },
    { gpa: 100 * PAGE, len: PAGE, flips: 1 },
  ]);
  expect(flips.most(1)).toEqual([{ gpa: 510 * PAGE, len: 4 * PAGE, flips: 2 }]);
  expect(flips.histogram()).toEqual([
    { flips: 0, bytes: (1024 - 5 + 1) * PAGE },
    { flips: 1, bytes: PAGE },
    { flips: 2, bytes: 4 * PAGE },
  ]);
});
