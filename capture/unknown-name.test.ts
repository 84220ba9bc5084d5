import { expect, it } from 'vitest';
import { unknownName } from './unknown-name.ts';

it.each([
  ['swiotbl', ['boot', 'swiotlb'], 'did you mean swiotlb? valid: boot, swiotlb'],
  ['SWIOTLB', ['boot', 'swiotlb'], 'did you mean swiotlb? valid: boot, swiotlb'],
  ['nothing-like-it', ['boot', 'swiotlb'], 'valid: boot, swiotlb'],
  ['x', [], 'valid: '],
])('%s among %j', (given, valid, hint) => {
  expect(unknownName('workload', given, valid)).toMatchObject({
    code: 'USAGE',
    message: `there is no workload "${given}"`,
    hint,
  });
});
