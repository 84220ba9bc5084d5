import { describe, expect, test } from 'vitest';
import { inlineAnalysis } from '../testing/inline-rows.ts';

const { rowsOf } = inlineAnalysis();

/** Values of expressions, as one row. */
async function values(...expressions: readonly string[]): Promise<unknown[]> {
  const [row] = await rowsOf([{ op: 'mark' }], `select ${expressions.join(', ')}`);
  return row ?? [];
}

const LARGEST = '18446744073709551615::ubigint';

describe('ranges', () => {
  const RELATIONS = (b: string) =>
    ['ranges_overlap', 'range_contains', 'ranges_adjacent', 'overlap_bytes'].map((name) => `${name}(100, 50, ${b})`);

  test.each([
    ['the same', '100, 50', [true, true, false, 50]],
    ['inside', '110, 10', [true, true, false, 10]],
    ['inside, at the first edge', '100, 10', [true, true, false, 10]],
    ['inside, at the last edge', '140, 10', [true, true, false, 10]],
    ['around', '90, 100', [true, false, false, 50]],
    ['over the first edge', '90, 11', [true, false, false, 1]],
    ['over the last edge', '149, 10', [true, false, false, 1]],
    ['directly before', '90, 10', [false, false, true, 0]],
    ['directly behind', '150, 10', [false, false, true, 0]],
    ['apart', '151, 10', [false, false, false, 0]],
    ['empty, inside', '120, 0', [false, true, false, 0]],
    ['empty, at the last edge', '150, 0', [false, true, true, 0]],
    ['unknown', 'null, 10', [null, null, null, null]],
    ['of unknown length', '100, null', [null, null, null, null]],
    ['damaged', `${LARGEST}, 10`, [null, null, null, null]],
  ])('that is %s', async (_, b, expected) => {
    expect(await values(...RELATIONS(b))).toEqual(expected);
  });
});

describe('units', () => {
  test('pages are counted up', async () => {
    expect(await values(...['0', '1', '4096', '4097', 'null'].map((size) => `pages_of(${size})`))).toEqual([
      0,
      1,
      1,
      2,
      null,
    ]);
    expect(await values(`pages_of(${LARGEST})`)).toEqual([2 ** 52]);
  });

  test('the power of 2 that holds a size is exact', async () => {
    const sizes = ['0', '1', '2', '3', '4096', '4097', '4611686018427387905', LARGEST, 'null'];
    expect(await values(...sizes.map((size) => `power_of_2(${size}::ubigint)::varchar`))).toEqual([
      '0',
      '1',
      '2',
      '4',
      '4096',
      '8192',
      '9223372036854775808',
      null,
      null,
    ]);
  });

  test('sizes, addresses and times as people write them', async () => {
    expect(
      await values(
        'size_text(65536::ubigint)',
        'address_text(4294967296)',
        `address_text(${LARGEST})`,
        'size_text(null)',
      ),
    ).toEqual(['64.0 KiB', '0x100000000', '0xffffffffffffffff', null]);
    expect(await values(...['999', '1000', '-1234567', '2500000000', 'null'].map((ns) => `time_text(${ns})`))).toEqual([
      '999 ns',
      '1.000 us',
      '-1.235 ms',
      '2.500 s',
      null,
    ]);
  });

  test('size classes are those of op_latency', async () => {
    const rows = [null, 1, 4096, 4097, 65536, 2 ** 20, 2 ** 21, 2 ** 26, 2 ** 40].map((len, seq) => ({
      op: 'gmem_touch' as const,
      seq,
      ...(len !== null && { len }),
    }));
    expect(
      await rowsOf(
        rows,
        `select (select list(distinct size_class order by size_class) from op_latency) = (select list(distinct size_class(len) order by size_class(len)) from events)`,
      ),
    ).toEqual([[true]]);
  });
});
