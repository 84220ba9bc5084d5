import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { perfScriptFormat } from './perf-script.ts';
import { perfTraceFormat } from './perf-trace.ts';

describe('perf script', () => {
  checkFormat(perfScriptFormat);
});

describe('perf trace', () => {
  checkFormat(perfTraceFormat);
});
