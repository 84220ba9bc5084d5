import { describe, expect, it } from 'vitest';
import { MAX_SEED, Random } from './random.ts';

const draws = (random: Random, count: number, most: number) =>
  Array.from({ length: count }, () => random.integer(0, most));

describe('Random', () => {
  // Golden: every workload's requests follow from these. The library may not change them, nor may we.
  it('gives the numbers of its first release', () => {
    expect(draws(Random.fromSeed(1), 6, 999)).toEqual([992, 110, 649, 538, 227, 361]);
    expect(draws(Random.fromSeed(MAX_SEED), 6, 999)).toEqual([495, 152, 610, 872, 552, 238]);
    const parent = Random.fromSeed(1);
    expect(draws(parent.fork(), 3, 999)).toEqual(draws(Random.fromSeed(1), 3, 999));
    expect(draws(parent, 3, 999)).toEqual([932, 591, 347]);
  });

  it('does not begin alike for neighbouring seeds', () => {
    const firsts = Array.from({ length: 200 }, (_, seed) => Random.fromSeed(seed).integer(0, 2 ** 32 - 1));
    expect(new Set(firsts).size).toBe(200);
    const high = firsts.filter((first) => first >= 2 ** 31).length;
    expect(high).toBeGreaterThan(70);
    expect(high).toBeLessThan(130);
  });

  it('draws pauses with the mean that it was given', () => {
    const random = Random.fromSeed(7);
    const pauses = Array.from({ length: 10_000 }, () => random.pauseNs(1000));
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(2000);
    // The standard error of this mean is 5.8.
    expect(Math.abs(pauses.reduce((a, b) => a + b) / pauses.length - 1000)).toBeLessThan(25);
    expect(random.pauseNs(0)).toBe(0);
  });

  it('keeps the shares of a weighted table', () => {
    const random = Random.fromSeed(7);
    const table = [
      { percent: 90, value: 'often' },
      { percent: 10, value: 'seldom' },
    ];
    const seldom = Array.from({ length: 10_000 }, () => random.weighted(table)).filter((value) => value === 'seldom');
    expect(Math.abs(seldom.length - 1000)).toBeLessThan(120);
    expect(() => {
      for (let i = 0; i < 1000; i++) random.weighted(table.slice(1));
    }).toThrow(/do not add up/);
  });

  it('shuffles without losing anything', () => {
    const list = Array.from({ length: 50 }, (_, i) => i);
    const shuffled = Random.fromSeed(3).shuffled(list);
    expect(shuffled).not.toEqual(list);
    expect([...shuffled].sort((a, b) => a - b)).toEqual(list);
  });
});
