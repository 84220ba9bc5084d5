import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { ftraceFormat, traceCmdFormat } from './ftrace.ts';

describe('ftrace', () => {
  checkFormat(ftraceFormat);
});

describe('trace-cmd report', () => {
  checkFormat(traceCmdFormat);
});
