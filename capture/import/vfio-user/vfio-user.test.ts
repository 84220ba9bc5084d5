import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { checkDamage } from '../testing/damage.ts';
import { vfioUserFormat } from './vfio-user.ts';

describe('vfio-user', () => {
  checkFormat(vfioUserFormat);
  checkDamage(vfioUserFormat);
});
