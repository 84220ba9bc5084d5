import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bitmapBytes, copyBits, countValid, isValid, setBits } from './bitmap.ts';

const bits = fc.array(fc.boolean(), { maxLength: 200 });

function bitmapOf(values: readonly boolean[], garbage = 0): Uint8Array {
  const bitmap = new Uint8Array(bitmapBytes(values.length) + 1).fill(garbage);
  values.forEach((value, i) => {
    const mask = 1 << (i & 7);
    bitmap[i >> 3] = value ? (bitmap[i >> 3] ?? 0) | mask : (bitmap[i >> 3] ?? 0) & ~mask;
  });
  return bitmap;
}

const read = (bitmap: Uint8Array, count: number): boolean[] =>
  Array.from({ length: count }, (_, i) => isValid(bitmap, i));

test('copyBits and setBits append what a list of booleans would hold, whatever follows the last bit', () => {
  fc.assert(
    fc.property(bits, bits, fc.nat(100), (before, source, ones) => {
      const bitmap = new Uint8Array(100);
      copyBits(bitmap, 0, bitmapOf(before, 0xff), before.length);
      copyBits(bitmap, before.length, bitmapOf(source, 0xff), source.length);
      setBits(bitmap, before.length + source.length, ones);
      const expected = [...before, ...source, ...Array<boolean>(ones).fill(true), false, false];
      expect(read(bitmap, expected.length)).toEqual(expected);
    }),
    { seed: 1, numRuns: 300 },
  );
});

test('countValid counts the given rows only', () => {
  fc.assert(
    fc.property(bits, (values) => {
      expect(countValid(bitmapOf(values, 0xff), values.length)).toBe(values.filter(Boolean).length);
    }),
    { seed: 1, numRuns: 200 },
  );
});

test('without a bitmap every row has a value', () => {
  expect(isValid(undefined, 5)).toBe(true);
});
