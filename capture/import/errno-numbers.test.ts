import { constants } from 'node:os';
import { expect, it } from 'vitest';
import { ERRNO_NUMBERS } from './errno-numbers.ts';

it('agrees with every number that Node knows', () => {
  for (const [name, number] of Object.entries(constants.errno)) expect(ERRNO_NUMBERS.get(name), name).toBe(number);
});

it('has what Node lacks', () => {
  expect(ERRNO_NUMBERS.get('EHWPOISON')).toBe(133);
  expect(ERRNO_NUMBERS.get('EUCLEAN')).toBe(117);
  expect(ERRNO_NUMBERS.get('ERESTARTSYS')).toBe(512);
  expect(ERRNO_NUMBERS.get('-')).toBeUndefined();
});
