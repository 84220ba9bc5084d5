import { describe, expect, it } from 'vitest';
import { formatSize, parseSize } from './size.ts';

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['4K', 4096],
    ['2m', 2_097_152],
    ['1GiB', 1_073_741_824],
    ['400G', 429_496_729_600],
    [' 1T ', 2 ** 40],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'K', '-4K', '1.5G', '4 K', '0x1000', '4KK', '9007199254740993', '9999999T', 'four'])(
    'refuses %j',
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );

  it.each([0, 1, 4095, 4096, 4097, 2_097_152, 3 * 2 ** 20, 2 ** 40, 2 ** 30 + 4096])(
    'writes %d so that it reads back',
    (bytes) => {
      expect(parseSize(formatSize(bytes))).toBe(bytes);
    },
  );
});
