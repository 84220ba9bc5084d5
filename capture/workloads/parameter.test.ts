import { describe, expect, it } from 'vitest';
import { completeParameters, describeRange, formatParameter, parseParameters, type Parameter } from './parameter.ts';

const SIZE: Parameter = { name: 'size', summary: 's', unit: 'bytes', default: 4096, min: 4096, max: 2 ** 30 };
const COUNT: Parameter = { name: 'count', summary: 'c', unit: 'count', default: 3, min: 1, max: 10 };
const PERCENT: Parameter = { name: 'percent', summary: 'p', unit: 'percent', default: 50, min: 0, max: 100 };
const THINK: Parameter = { name: 'think', summary: 't', unit: 'ns', default: 0, min: 0, max: 1e9 };
const PARAMETERS = [SIZE, COUNT, PERCENT, THINK] as const;

const parse = (...texts: string[]) => parseParameters('workload w', PARAMETERS, texts);

describe('parseParameters', () => {
  it.each([
    ['size=2M', { size: 2 ** 21 }],
    ['size=8192', { size: 8192 }],
    ['count=10', { count: 10 }],
    ['percent=0', { percent: 0 }],
    ['think=150us', { think: 150_000 }],
    ['think=1s', { think: 1e9 }],
    ['think=0', { think: 0 }],
  ])('reads %s', (text, values) => {
    expect(parse(text)).toEqual(values);
  });

  it('reads several, and leaves the others to their defaults', () => {
    expect(parse('count=2', 'percent=7')).toEqual({ count: 2, percent: 7 });
  });

  it.each([
    ['size=4097', 'workload w: size cannot be "4097"', 'a size in whole pages (multiples of 4K) from 4K to 1G'],
    ['size=2G', 'size cannot be "2G"', 'from 4K to 1G'],
    ['size=0', 'size cannot be "0"', 'from 4K to 1G'],
    ['size=', 'size cannot be ""', 'from 4K to 1G'],
    ['count=0', 'count cannot be "0"', 'a whole number from 1 to 10'],
    ['count=11', 'count cannot be "11"', 'a whole number from 1 to 10'],
    ['count=1e1', 'count cannot be "1e1"', 'a whole number from 1 to 10'],
    ['count=-1', 'count cannot be "-1"', 'a whole number'],
    ['percent=101', 'percent cannot be "101"', 'from 0 to 100'],
    ['think=5', 'think cannot be "5"', 'a time with its unit (ns, us, ms, s) from 0 to 1s'],
    ['think=2s', 'think cannot be "2s"', 'from 0 to 1s'],
    ['count', '"count" is not a parameter of workload w', 'write NAME=VALUE; valid: size, count, percent, think'],
    ['=3', '"=3" is not a parameter', 'write NAME=VALUE'],
    ['siez=4K', 'there is no parameter of workload w called "siez"', 'did you mean size? valid: size, count'],
  ])('refuses %s', (text, message, hint) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        code: 'USAGE',
        message: expect.stringContaining(message) as string,
        hint: expect.stringContaining(hint) as string,
      }),
    );
  });

  it('refuses a name that is given twice', () => {
    expect(() => parse('count=1', 'count=1')).toThrow('parameter count of workload w is given twice');
  });
});

describe('completeParameters', () => {
  it('fills in the defaults', () => {
    expect(completeParameters('w', PARAMETERS, { count: 9 })).toEqual({ size: 4096, count: 9, percent: 50, think: 0 });
  });

  it.each([NaN, Infinity, 1.5, -1])('refuses %d', (count) => {
    expect(() => completeParameters('w', PARAMETERS, { count })).toThrow(/count cannot be/);
  });
});

it.each([
  [SIZE, 2 ** 21, '2M'],
  [THINK, 0, '0'],
  [THINK, 1500, '1500ns'],
  [THINK, 125_000, '125us'],
  [THINK, 1e9, '1s'],
  [COUNT, 5, '5'],
])('a value is written as it is read', (parameter, value, text) => {
  expect(formatParameter(parameter, value)).toBe(text);
  expect(parse(`${parameter.name}=${text}`)).toEqual({ [parameter.name]: value });
});

it('describes a range with its unit', () => {
  expect(describeRange(PERCENT)).toBe('a whole number from 0 to 100');
});
