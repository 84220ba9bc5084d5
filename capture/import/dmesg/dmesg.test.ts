import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { dmesgFormat } from './dmesg.ts';

describe('dmesg', () => {
  checkFormat(dmesgFormat);
});
