import { expect, test } from 'vitest';
import { Random } from '../../capture/workloads/random.ts';
import { RangeList } from './range-list.ts';

test('agrees with an array of bytes after each of thousands of calls', () => {
  const draw = Random.fromSeed(7);
  const next = (): number => draw.integer(0, 999_999) / 1_000_000;
  const size = 4_000;
  const values = new Int32Array(size).fill(-1);
  const seqs = new Int32Array(size).fill(-1);
  const list = new RangeList();
  for (let seq = 0; seq < 6_000; seq++) {
    const long = next() < 0.001;
    const start = Math.floor(next() * size);
    const end = Math.min(size, start + 1 + Math.floor(next() * (long ? size : 6)));
    const gone: [number, number, number][] = [];
    const expected: [number, number, number][] = [];
    for (let at = start; at < end; at++) if (values[at] !== -1) expected.push([at, values[at] ?? 0, seqs[at] ?? 0]);
    const removed = (from: number, to: number, value: number, since: number): void => {
      for (let at = from; at < to; at++) gone.push([at, value, since]);
    };
    if (next() < 0.6) {
      const value = Math.floor(next() * 3);
      list.set(start, end, value, seq, seq * 2, 0, removed);
      values.fill(value, start, end);
      seqs.fill(seq, start, end);
    } else {
      list.clear(start, end, removed);
      values.fill(-1, start, end);
    }
    expect(gone).toEqual(expected);
    if (seq % 50 !== 0) continue;
    expect(list.bytes).toBe(values.reduce((sum, value) => sum + Number(value !== -1), 0));
    const from = Math.floor(next() * size);
    const to = from + Math.floor(next() * (size - from));
    expect(list.measure(from, to)).toBe(
      values.subarray(from, to).reduce((sum, value) => sum + Number(value !== -1), 0),
    );
    const seen: number[] = [];
    list.forEach(from, to, (a, b, value, since, ns) => {
      expect(ns).toBe(since * 2);
      for (let at = a; at < b; at++) {
        expect([value, since]).toEqual([values[at], seqs[at]]);
        seen.push(at);
      }
    });
    expect(seen).toEqual([...values.keys()].filter((at) => at >= from && at < to && values[at] !== -1));
  }
  expect(list.pieces).toBeGreaterThan(512);
});
