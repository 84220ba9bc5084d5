import { expect, it } from 'vitest';
import { normalTwoSided } from './normal.ts';

it.each([
  // 2 * scipy.stats.norm.sf(z) of SciPy 1.10.1; 2.7 and 2.9 are on the two sides of where the method changes.
  [0, 1],
  [0.5, 0.6170750774519738],
  [1, 0.31731050786291415],
  [1.959963984540054, 0.05],
  [2.7, 0.006933947606081329],
  [2.9, 0.003731626600768075],
  [-5, 5.733031437583866e-7],
  [10, 1.523970604832094e-23],
  [37, 1.1451142445047853e-299],
])('has %d as SciPy has it', (z, p) => {
  expect(Math.abs(normalTwoSided(z) / p - 1)).toBeLessThan(1e-12);
});
