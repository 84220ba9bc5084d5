import { describe, expect, test } from 'vitest';
import { loadNative } from './index.ts';
import { OPS } from './ops.ts';

describe('the addon', () => {
  test('has the operations of OPS, in that order', () => {
    expect(loadNative().ops).toEqual(OPS);
  });

  test('names errors', () => {
    const native = loadNative();
    expect(native.errnoName(25)).toBe('ENOTTY');
    expect(native.errnoName(1)).toBe('EPERM');
    expect(native.errnoName(4999)).toBe('errno 4999');
    expect(() => native.errnoName(-1)).toThrow(TypeError);
  });
});
