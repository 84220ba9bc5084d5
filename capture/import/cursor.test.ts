import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOf, Cursor, wordHash } from './cursor.ts';

const at = (text: string): Cursor => {
  const bytes = bytesOf(text);
  return new Cursor().reset(bytes, 0, bytes.length);
};
const value = ({ hi, lo }: Cursor): bigint => (BigInt(hi) << 32n) | BigInt(lo);

describe('Cursor', () => {
  it('reads what numbers are written, all 64 bits', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (number) => {
        for (const [text, read] of [
          [number.toString(16), 'hex'],
          [`0X${number.toString(16).toUpperCase()}`, 'hex'],
          [String(number), 'decimal'],
          [`000${number}`, 'decimal'],
          [`0x${number.toString(16)}`, 'number'],
        ] as const) {
          const cursor = at(`${text},`);
          expect(cursor[read](), text).toBe(true);
          expect(value(cursor), text).toBe(number);
          expect(cursor.at, text).toBe(text.length);
        }
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('reads negative numbers as two complements', () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 63n), -1n), (number) => {
        const cursor = at(String(number));
        expect(cursor.number()).toBe(true);
        expect(BigInt.asIntN(64, value(cursor))).toBe(number);
        if (number > -(2n ** 53n)) expect(cursor.signed()).toBe(Number(number));
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it.each(['', 'x', '0x', '0xg', '-', '-x', '18446744073709551616', '0x10000000000000000', '-9223372036854775809'])(
    'does not move where there is no number: "%s"',
    (text) => {
      const cursor = at(text);
      expect(cursor.number()).toBe(false);
      expect(cursor.at).toBe(0);
    },
  );

  it('does not trust a number or word that reaches an open end', () => {
    const open = (text: string): Cursor => Object.assign(at(text), { openEnd: true });
    expect(open('123').decimal()).toBe(false);
    expect(open('0x123').number()).toBe(false);
    expect(open('0x').hex()).toBe(false);
    expect(open('word').word()).toBe(0);
    expect(open('123 ').decimal()).toBe(true);
    expect(open('word ').word()).toBe(wordHash('word'));
  });

  it('finds words and literals', () => {
    const cursor = at('kvm_run_exit: reason 2');
    expect(cursor.word()).toBe(wordHash('kvm_run_exit'));
    expect(cursor.wordIs(bytesOf('kvm_run_exit'))).toBe(true);
    expect(cursor.wordIs(bytesOf('kvm_run_exi'))).toBe(false);
    expect(cursor.findPast(bytesOf('reas'))).toBe(true);
    expect(cursor.findPast(bytesOf('reas'))).toBe(false);
    expect(cursor.skip(bytesOf('on'))).toBe(true);
    cursor.spaces();
    expect(cursor.text(cursor.at, cursor.end)).toBe('2');
  });
});
