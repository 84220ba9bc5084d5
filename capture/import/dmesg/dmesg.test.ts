import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { checkDamage } from '../testing/damage.ts';
import { dmesgFormat } from './dmesg.ts';

describe('dmesg', () => {
  checkFormat(dmesgFormat);
  checkDamage(dmesgFormat);
});
