import { BinaryReader } from '@bufbuild/protobuf/wire';
import { expect, test } from 'vitest';
import { ProtoWriter } from './proto-writer.ts';

const NUMBERS = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 35 - 1, 2 ** 49, 2 ** 53 - 1];

test('numbers', () => {
  const writer = new ProtoWriter();
  for (const number of NUMBERS) writer.uint(89, number);
  const reader = new BinaryReader(writer.take());
  for (const number of NUMBERS) {
    expect(reader.tag()).toEqual([89, 0]);
    expect(reader.uint64()).toBe(BigInt(number));
  }
  expect(reader.pos).toBe(reader.len);
});

test('64 bits by halves, negative ones in two complements', () => {
  const numbers = [0n, -1n, 1n, 2n ** 63n - 1n, -(2n ** 63n), 0x8000_0000n, 0x1_0000_0000n];
  const writer = new ProtoWriter();
  for (const number of numbers) {
    const unsigned = BigInt.asUintN(64, number);
    writer.halves(1, Number(unsigned & 0xffff_ffffn), Number(unsigned >> 32n));
  }
  const reader = new BinaryReader(writer.take());
  for (const number of numbers) {
    expect(reader.tag()).toEqual([1, 0]);
    expect(reader.int64()).toBe(number);
  }
});

test('messages in messages, as long as they are, and text of any script', () => {
  const writer = new ProtoWriter();
  const lengths = [0, 1, 100, 126, 127, 128, 129, 16_382, 16_383, 16_384, 200_000];
  for (const length of lengths) {
    const outer = writer.begin(1);
    writer.uint(2, length);
    writer.string(3, 'é'.repeat(length));
    writer.end(outer);
  }
  const reader = new BinaryReader(writer.take());
  for (const length of lengths) {
    expect(reader.tag()).toEqual([1, 2]);
    const inner = new BinaryReader(reader.bytes());
    expect([inner.tag(), inner.uint32(), inner.tag()]).toEqual([[2, 0], length, [3, 2]]);
    expect(inner.string()).toBe('é'.repeat(length));
    expect(inner.pos).toBe(inner.len);
  }
  expect(reader.pos).toBe(reader.len);
  expect(writer.take().length).toBe(0);
});
