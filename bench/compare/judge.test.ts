import { expect, it } from 'vitest';
import { judge, type Evidence } from './judge.ts';

const CLEAR: Evidence = { aNs: 100, bNs: 130, low: 1.2, high: 1.4, p: 0.01, shareBLarger: 1, noise: 1.1 };

it.each([
  ['a clear difference', {}, 'slower', null],
  ['the same the other way round', { aNs: 130, bNs: 100, low: 0.7, high: 0.8, shareBLarger: 0 }, 'faster', null],
  ['a p that is just small enough', { p: 0.05 }, 'slower', null],
  ['a p that is not', { p: 0.0501 }, 'indistinct', 'p'],
  ['a small effect', { bNs: 104, low: 1.03, high: 1.05 }, 'indistinct', 'effect'],
  ['the least effect', { bNs: 105, low: 1.03, high: 1.06, noise: 1.01 }, 'slower', null],
  [
    'the least effect downwards',
    { aNs: 105, bNs: 100, low: 0.9, high: 0.99, shareBLarger: 0, noise: 1 },
    'faster',
    null,
  ],
  ['no more than the noise', { noise: 1.3 }, 'indistinct', 'noise'],
  ['runs without noise to know', { noise: null }, 'slower', null],
  ['an interval with 1 in it', { low: 0.98 }, 'indistinct', 'interval'],
  ['no interval', { low: null, high: null }, 'slower', null],
  ['ranks that say the contrary', { shareBLarger: 0.3 }, 'indistinct', 'direction'],
  ['no test', { p: null }, 'unjudged', null],
  ['a side without times', { aNs: null }, 'unjudged', null],
  ['what took no time and now does', { aNs: 0, low: Infinity, high: Infinity, noise: null }, 'slower', null],
  ['what takes no time any more', { bNs: 0, low: 0, high: 0, shareBLarger: 0 }, 'faster', null],
  ['what takes no time on either', { aNs: 0, bNs: 0, low: 1, high: 1, noise: null }, 'indistinct', 'effect'],
] as const)('%s', (_what, evidence, verdict, why) => {
  expect(judge({ ...CLEAR, ...evidence }, 0.05)).toEqual({ verdict, why });
});

it('calls no difference of 0, whatever the threshold', () => {
  expect(judge({ ...CLEAR, bNs: 100, noise: null }, 0)).toEqual({ verdict: 'indistinct', why: 'effect' });
});
