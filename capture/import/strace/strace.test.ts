import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { straceFormat } from './strace.ts';

describe('strace', () => {
  checkFormat(straceFormat, { cutEvery: 3 });
});
