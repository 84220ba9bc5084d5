import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { vfioUserFormat } from './vfio-user.ts';

describe('vfio-user', () => {
  checkFormat(vfioUserFormat);
});
