import { describe, expect, test } from 'vitest';
import { formatBytes } from './format-bytes.ts';
import { formatCount } from './format-count.ts';
import { formatDuration } from './format-duration.ts';
import { formatPlot } from './format-plot.ts';
import { formatTable } from './format-table.ts';
import { toJson } from './json.ts';
import { countOption, sizeOption } from './option-values.ts';
import { oneLine, printable } from './printable.ts';

test.each([
  [0, '0'],
  [1, '1 B'],
  [1023, '1023 B'],
  [4096, '4K'],
  [4097, '4.00 KiB'],
  [2 ** 21, '2M'],
  [1.5 * 2 ** 30, '1.50 GiB'],
  [2 ** 30 - 1, '1024 MiB'],
  [2 ** 40, '1T'],
  [2n ** 62n, '4E'],
  [-4096, '-4K'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [0, '0 ns'],
  [1, '1 ns'],
  [12.34, '12.3 ns'],
  [999, '999 ns'],
  [1000, '1.00 us'],
  [1234, '1.23 us'],
  [9996, '10.0 us'],
  [999_600, '1.00 ms'],
  [45_600_000n, '45.6 ms'],
  [103e9, '103 s'],
  [12_345e9, '12345 s'],
  [-1500, '-1.50 us'],
])('%d ns are %s', (durationNs, text) => {
  expect(formatDuration(durationNs)).toBe(text);
});

test.each([
  [0, '0'],
  [999, '999'],
  [1000, '1,000'],
  [1234567n, '1,234,567'],
  [-1000, '-1,000'],
])('%d is counted as %s', (count, text) => {
  expect(formatCount(count)).toBe(text);
});

test('control characters and direction overrides do not reach the terminal', () => {
  expect(printable('a\u001b]0;title\u0007\u202eb\u009b1m é ▁')).toBe('a\\x1b]0;title\\x07\\u202eb\\x9b1m é ▁');
  expect(oneLine(' a \r\n  b\tc ')).toBe('a b\\x09c');
});

test('a table aligns numbers right and ends no line with blanks', () => {
  const text = formatTable(
    [{ title: 'OP' }, { title: 'COUNT', align: 'right' }, { title: 'NOTE' }],
    [
      ['kvm_create_vm', '1', ''],
      ['mark\n', '1,234', 'x'],
    ],
  );
  expect(text).toBe('OP             COUNT  NOTE\nkvm_create_vm      1\nmark\\x0a       1,234  x\n');
});

test('a bigint is a string, a number a number and bytes are hex digits, at any depth', () => {
  expect(toJson({ a: 1n, b: [2n ** 64n, 3], c: new Uint8Array([1, 255]), d: Buffer.from([16]) })).toBe(
    '{"a":"1","b":["18446744073709551616",3],"c":"01ff","d":"10"}',
  );
});

describe('options', () => {
  test.each(['', '4Q', '1.5G', '-1'])('%j is no size', (text) => {
    expect(() => sizeOption('--memory')(text)).toThrow(`--memory: "${text}" is not a size`);
  });

  test.each(['', '0', '-1', '1.5', 'x', '99999999999999999999'])('%j is no count of at least 1', (text) => {
    expect(() => countOption('--runs', 1)(text)).toThrow('is not a whole number of at least 1');
  });

  test('values', () => {
    expect([sizeOption('--memory')('2M'), countOption('--runs')('0')]).toEqual([2 ** 21, 0]);
  });
});

describe('plot', () => {
  test('each series has its own scale, and holds its value', () => {
    const text = formatPlot(
      [
        { title: 'big', at: [0, 500], values: [0, 2 ** 30] },
        { title: 'small', at: [0, 300, 400, 1000], values: [4096, 8192, 0, 0] },
        { title: 'never', at: [0], values: [0] },
      ],
      14,
      { height: 2 },
    );
    expect(text).toBe(
      [
        '    big',
        '1G ┤     █████',
        ' 0 ┤     █████',
        '    small',
        '8K ┤   █',
        ' 0 ┤████',
        '    never',
        ' 0 ┤',
        '   └──────────',
        '    0  1.00 us',
        '',
      ].join('\n'),
    );
  });

  test('a short peak and a small value are seen', () => {
    const text = formatPlot([{ title: 't', at: [0, 500, 501, 1000], values: [1, 1024, 1, 1] }], 14, { height: 2 });
    expect(text.split('\n').slice(1, 3)).toEqual(['1K ┤     █', ' 0 ┤▁▁▁▁▁█▁▁▁▁']);
  });

  test('no points, no plot', () => {
    expect(formatPlot([{ title: 't', at: [], values: [] }], 40)).toBe('');
  });
});
